"""The owner's page (Gradio): `page.py` builds it, each tab has a file of its own."""
