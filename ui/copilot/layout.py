"""What stands on the agents' page: its components by name. Wires nothing; `page.py` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from assistant.answer_pairs import ANSWER_MAX, QUESTION_MAX
from assistant.messages import CHARACTERS_MAX
from assistant.rewriting import LANGUAGES
from ui.present.desk import NO_DRAFT, NOTHING_OPEN, help_html

SHELF_WORDS = {"waiting": "Waiting", "mine": "Mine", "others": "Others", "resolved": "Resolved"}
LEVELS = ["auto", "prompting", "rag", "lora"]
BEAT_SECONDS = 15.0
"""How often a page says that its agent is there; what changed meanwhile is told by `/live/desk`."""
TOP = (
    '<header class="rungs-header"><h1>Rungs copilot</h1><p>Conversations that need a person.</p></header>'
    '<button type="button" data-open="copilot-help">Keys <kbd>?</kbd></button>'
)


def layout(agents: Sequence[str]) -> Mapping[str, Any]:
    """Components by name; nothing is wired here."""
    parts: dict[str, Any] = {
        name: gr.Textbox(visible="hidden", elem_id=f"copilot-{name}")
        for name in ("chosen", "reported", "quoted", "once")
    }
    parts["refresh"] = gr.Button("Refresh", visible="hidden", elem_id="copilot-refresh")
    parts["beat"] = gr.Timer(BEAT_SECONDS)
    for name, empty in (("open", ""), ("kept", {}), ("shown", {}), ("drafted", ""), ("draft", None), ("used", "")):
        parts[name] = gr.State(empty)
    parts["undo"] = gr.State(())
    gr.HTML(TOP + help_html(), elem_id="copilot-top")
    parts["account"] = gr.HTML("", elem_id="account")
    with gr.Row(elem_id="copilot"):
        with gr.Column(elem_id="copilot-inbox", min_width=200):
            _inbox(parts)
        with gr.Column(elem_id="copilot-thread", min_width=200):
            _thread(parts, agents)
        with gr.Column(elem_id="copilot-tools", min_width=200):
            _tools(parts)
    return parts


def _inbox(parts: dict[str, Any]) -> None:
    parts["shelf"] = gr.Radio(
        [(words, name) for name, words in SHELF_WORDS.items()], value="waiting", label="Show", elem_id="copilot-shelf"
    )
    parts["search"] = gr.Textbox(
        label="Search the inbox", placeholder="Search …", container=False, show_label=False, elem_id="copilot-search",
    )  # fmt: skip
    parts["rows"] = gr.HTML(elem_id="copilot-rows")


def _thread(parts: dict[str, Any], agents: Sequence[str]) -> None:
    parts["head"] = gr.HTML(NOTHING_OPEN, elem_id="copilot-head")
    with gr.Row(elem_classes="box-buttons", elem_id="copilot-acts", visible=False) as parts["acts"]:
        parts["take"] = gr.Button("Take over", size="sm", variant="primary", elem_id="copilot-take")
        parts["resolve"] = gr.Button("Resolve", size="sm", elem_id="copilot-resolve")
        parts["back"] = gr.Button("Give back", size="sm", elem_id="copilot-back")
        parts["reopen"] = gr.Button("Open again", size="sm", elem_id="copilot-reopen")
        parts["to"] = gr.Dropdown(
            list(agents), label="Assign to", container=False, show_label=False, elem_id="copilot-to", scale=0
        )
        parts["assign"] = gr.Button("Assign", size="sm", elem_id="copilot-assign")
    parts["thread"] = gr.HTML(elem_id="copilot-said")
    parts["told"] = gr.HTML(elem_id="copilot-told")
    with gr.Group(visible=False, elem_id="copilot-write") as parts["write"]:
        parts["reply"] = gr.Textbox(
            label="Your answer", lines=4, max_lines=12, max_length=CHARACTERS_MAX, elem_id="copilot-reply",
            placeholder="Write to the visitor. Ctrl + Enter sends.",
        )  # fmt: skip
        with gr.Row(elem_classes="box-buttons", elem_id="copilot-tone"):
            for name, words in (("shorter", "Shorter"), ("friendlier", "Friendlier"), ("formal", "More formal")):
                parts[name] = gr.Button(words, size="sm", elem_id=f"copilot-{name}")
            parts["language"] = gr.Dropdown(
                [(words, code) for code, words in LANGUAGES.items()], value="de", label="Language", container=False,
                show_label=False, elem_id="copilot-language", scale=0,
            )  # fmt: skip
            parts["translate"] = gr.Button("Translate", size="sm", elem_id="copilot-translate")
            parts["back_to"] = gr.Button("Undo", size="sm", visible=False, elem_id="copilot-undo")
            parts["send"] = gr.Button("Send", size="sm", variant="primary", elem_id="copilot-send")
    with gr.Accordion("Private note", open=False, visible=False, elem_id="copilot-note-box") as parts["note_box"]:
        parts["note"] = gr.Textbox(
            label="For agents' eyes only", lines=2, max_length=CHARACTERS_MAX, elem_id="copilot-note"
        )
        with gr.Row(elem_classes="box-buttons"):
            parts["note_keep"] = gr.Button("Keep the note", size="sm", elem_id="copilot-note-keep")


def _tools(parts: dict[str, Any]) -> None:
    with gr.Group(elem_id="copilot-draft-box"):
        parts["level"] = gr.Radio(LEVELS, value="auto", label="Draft by level", elem_id="copilot-level")
        parts["draft_shown"] = gr.HTML(NO_DRAFT, elem_id="copilot-draft")
        with gr.Row(elem_classes="box-buttons"):
            parts["again"] = gr.Button("Draft again", size="sm", elem_id="copilot-again")
            parts["halt"] = gr.Button("Stop", size="sm", elem_id="copilot-halt")
            parts["use"] = gr.Button("Use draft", size="sm", variant="primary", elem_id="copilot-use")
    with gr.Accordion("Summary and what was tried", open=True, elem_id="copilot-summary-box"):
        parts["summary"] = gr.HTML(elem_id="copilot-summary")
        with gr.Row(elem_classes="box-buttons"):
            parts["summarise"] = gr.Button("Summarise", size="sm", elem_id="copilot-summarise")
    with gr.Accordion("Search the knowledge", open=False, elem_id="copilot-know-box"):
        parts["query"] = gr.Textbox(label="Search for", submit_btn="Search", elem_id="copilot-query")
        parts["hits"] = gr.HTML(elem_id="copilot-hits")
    with gr.Accordion("Keep as knowledge", open=False, elem_id="copilot-pair-box"):
        parts["pair_question"] = gr.Textbox(label="Question", max_length=QUESTION_MAX, elem_id="copilot-pair-question")
        parts["pair_answer"] = gr.Textbox(
            label="Answer, for every visitor to read", lines=3, max_length=ANSWER_MAX, elem_id="copilot-pair-answer"
        )
        with gr.Row(elem_classes="box-buttons"):
            parts["pair_fill"] = gr.Button("From this conversation", size="sm", elem_id="copilot-pair-fill")
            parts["pair_keep"] = gr.Button("Keep", size="sm", variant="primary", elem_id="copilot-pair-keep")
        parts["pair_told"] = gr.HTML(elem_id="copilot-pair-told")
