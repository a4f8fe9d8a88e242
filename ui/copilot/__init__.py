"""The agents' page (Gradio): `page.py` builds it."""
