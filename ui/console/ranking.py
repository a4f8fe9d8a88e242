"""Trying a query on the console (Gradio): which passages are found, and why each ranked. A part of the knowledge tab.

Searches with the very parts that answer a question; no model is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from assistant.build import evidence_tokens
from assistant.finding import EvidenceFinder
from assistant.levels.rag import shown_to_a_model
from assistant.types import Question
from ui import present
from ui.present.knowledge import ranked_html
from ui.present.tables import empty

if TYPE_CHECKING:
    from assistant.build import Rungs

QUERY_CHARACTERS = 2000
NOTHING = empty("Type a question as a visitor would, and see which passages are found and why.")


def ranked(rungs: Rungs, query: str) -> str:
    """Why each passage ranked where it did."""
    if not query.strip():
        return NOTHING
    settings = rungs.settings
    evidence = EvidenceFinder(rungs.store, settings.passages, None)(Question(query.strip(), ""))
    chosen = shown_to_a_model(evidence, rungs.model, evidence_tokens(settings))
    warning = present.problem_html(evidence.degraded) if evidence.degraded else ""
    return warning + ranked_html(query, evidence.hits, evidence.sentences, chosen)


def build_ranking(rungs: Rungs) -> None:
    """The components."""
    with gr.Row(elem_classes="filters"):
        query = gr.Textbox(label="Question", max_length=QUERY_CHARACTERS, elem_id="try-query")
        search = gr.Button("Search", size="sm", variant="primary", elem_id="try-search")
    shown = gr.HTML(NOTHING, elem_id="try-shown")

    def show(query: str) -> str:
        return ranked(rungs, query)

    for event in (query.submit, search.click):
        event(show, query, shown, api_visibility="private", show_progress="minimal")
