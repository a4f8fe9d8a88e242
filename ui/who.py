"""Who is logged in, and the way out, on top of a page of Gradio's. Called by the console and the copilot."""

from __future__ import annotations

import gradio as gr

from ui import present
from ui.visitors import who_asks


def show_who(blocks: gr.Blocks) -> None:
    """A line with the account that looks at the page; empty on a machine without accounts."""
    shown = gr.HTML(elem_id="who")
    blocks.load(_told, None, shown, api_visibility="private", show_progress="hidden")


def _told(request: gr.Request) -> str:
    who = who_asks(request)
    return present.who_html(who.name, who.role) if who else ""
