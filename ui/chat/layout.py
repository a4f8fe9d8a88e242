"""What stands on the chat page: its components by name. Wires nothing; `page.py` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from assistant.attachments import SUFFIXES

REASONS = ("Wrong", "Not what I asked", "Out of date", "Hard to understand", "Something else")
INTRO = (
    '<header class="rungs-header"><h1>Rungs</h1>'
    "<p>Answers with sources, says how sure it is, and brings in a person when it is not.</p></header>"
)
EMPTY = (
    "### What would you like to know?\nEvery answer names its sources. If I cannot find one, I will say so "
    "instead of guessing."
)


def layout(question_characters: int) -> Mapping[str, Any]:
    """Components by name; nothing is wired here."""
    parts: dict[str, Any] = {
        "visitor": gr.Textbox(visible="hidden", elem_id="visitor"),
        "conversation": gr.Textbox(visible="hidden", elem_id="conversation"),
        "turns": gr.State(()),
        "rated": gr.State(None),
        "file": gr.Textbox(visible="hidden", elem_id="file"),
        "refresh": gr.Button(visible="hidden", elem_id="refresh"),
    }
    with gr.Sidebar(open=False, label="Conversations", elem_id="rungs-sidebar"):
        parts["list"] = gr.Radio(
            choices=[], label="Your conversations", visible=False, elem_id="conversation-list", interactive=True
        )
        _own_parts(parts)
    with gr.Row(elem_id="rungs-top"):
        gr.HTML(INTRO)
        parts["account"] = gr.HTML("", elem_id="account")
        parts["fresh"] = gr.Button("New chat", size="sm", elem_id="fresh")
    parts["chatbot"] = gr.Chatbot(
        elem_id="chat",
        label="Conversation",
        show_label=False,
        container=False,
        editable="user",
        buttons=["copy"],
        placeholder=EMPTY,
        sanitize_html=True,
        allow_tags=False,
        allow_file_downloads=False,
        latex_delimiters=[],
        scale=1,
        height="100%",
        min_height=280,
        layout="panel",
        group_consecutive_messages=False,
    )
    parts["banner"] = gr.HTML("", elem_id="banner")
    with gr.Group(visible=False, elem_id="reason-box") as parts["reason_box"]:
        parts["reason"] = gr.Radio(choices=list(REASONS), label="What was not good about it?")
        parts["reason_text"] = gr.Textbox(label="In your words (optional)", max_length=2000, lines=1)
        with gr.Row(elem_classes="box-buttons"):
            parts["reason_close"] = gr.Button("Close", size="sm")
            parts["reason_send"] = gr.Button("Send", size="sm", variant="primary")
    with gr.Group(visible=False, elem_id="contact-box") as parts["contact_box"]:
        parts["note"] = gr.Textbox(label="What should they know? (optional)", max_length=2000, lines=2)
        with gr.Row(elem_classes="box-buttons"):
            parts["contact_close"] = gr.Button("Close", size="sm")
            parts["contact_send"] = gr.Button("Pass this conversation to a person", variant="primary", size="sm")
    parts["attached"] = gr.CheckboxGroup(
        choices=[],
        label="Documents of this conversation (untick to remove)",
        visible=False,
        elem_id="attached",
        interactive=True,
    )
    parts["text"] = gr.Textbox(
        placeholder="Ask a question …",
        label="Your question",
        show_label=False,
        container=False,
        lines=1,
        max_lines=8,
        autofocus=True,
        submit_btn=True,
        elem_id="question",
        max_length=question_characters,
    )
    with gr.Row(elem_id="rungs-footer"):
        parts["status"] = gr.Markdown("", elem_id="status", sanitize_html=True)
        parts["stop"] = gr.Button("Stop", size="sm", visible=False, variant="stop", elem_id="stop")
        parts["attach"] = gr.UploadButton(
            "Attach a document", file_types=list(SUFFIXES), file_count="single", size="sm", elem_id="attach"
        )
        parts["contact"] = gr.Button("Contact support", size="sm", elem_id="contact")
    return parts


def _own_parts(parts: dict[str, Any]) -> None:
    """What a visitor may do with their data."""
    parts["take_along"] = gr.Button(
        "Take this browser's conversations into my account", size="sm", visible=False, elem_id="take-along"
    )
    with gr.Accordion("Your data", open=False, elem_id="your-data"):
        with gr.Row(elem_classes="box-buttons"):
            parts["export_md"] = gr.Button("Download (Markdown)", size="sm", elem_id="export-md")
            parts["export_json"] = gr.Button("Download (JSON)", size="sm", elem_id="export-json")
        parts["sure"] = gr.Checkbox(label="Delete for good; it cannot be brought back", elem_id="sure")
        with gr.Row(elem_classes="box-buttons"):
            parts["erase_one"] = gr.Button("Delete this conversation", size="sm", elem_id="erase-one")
            parts["erase_all"] = gr.Button("Delete all my data", size="sm", variant="stop", elem_id="erase-all")
        parts["data_told"] = gr.Markdown("", elem_id="data-told", sanitize_html=True)
