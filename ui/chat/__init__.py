"""The end user's page (Gradio): `page.py` builds it."""
