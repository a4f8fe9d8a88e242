"""The owner's tab of conversations (Gradio): every question, why it was answered so, and its correction.

Mounted by `page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.corrections import CHARACTERS_MAX, draft_of
from assistant.errors import AssistantError
from assistant.prompts import DECLINE
from assistant.traces import TraceSummary
from ui import present
from ui.console.adapting import CONSENT, person
from ui.console.overview import since_of
from ui.control import EXPECTED
from ui.present.tables import CHOOSES, choosable
from ui.present.tables import told as said
from ui.present.trace import story_html

if TYPE_CHECKING:
    from assistant.build import Rungs

ANY = "any"
PERIODS: Mapping[str, timedelta | None] = {
    "all time": None,
    "last hour": timedelta(hours=1),
    "last day": timedelta(days=1),
    "last week": timedelta(days=7),
}
COLUMNS = ("Asked", "Question", "Level", "Outcome", "Confidence", "Seconds", "Rated", "Surface")
PAGE_ROWS = 200
THUMBS = {1: "helpful", -1: "not helpful", 0: ""}
NOTHING = '<p class="empty">Choose a question above to see how it was answered.</p>'
QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True, slots=True)
class QuestionsDesk:
    """The tab's handlers."""

    rungs: Rungs

    def listed(
        self, level: str, outcome: str, surface: str, text: str, doubtful: float, period: str
    ) -> tuple[str, str, Any]:
        """The questions, how many there are, and the surfaces to choose from."""
        found = self.rungs.traces.find(
            level=None if level == ANY else level,
            outcome=None if outcome == ANY else outcome,
            surface=None if surface == ANY else surface,
            text=text or "",
            confidence_max=doubtful if doubtful < 1 else None,
            since=since_of(PERIODS[period], datetime.now(UTC)),
            limit=PAGE_ROWS,
        )
        told = (
            f"{'the latest ' if len(found) == PAGE_ROWS else ''}{len(found)} question{'' if len(found) == 1 else 's'}"
            if found
            else "No question matches. Ask one on the chat page, or widen the filters."
        )
        surfaces = gr.Dropdown([ANY, *self.rungs.traces.surfaces()])
        rows = [(summary.id, _row(summary)) for summary in found]
        return (
            choosable("Questions", COLUMNS, rows, COLUMNS.index("Question"), "questions") if rows else "",
            told,
            surfaces,
        )

    def opened(self, id: str) -> tuple[str, str, str, Any, str]:
        """One answer at three depths, its trace's id, and what a correction of it starts from."""
        closed = gr.Accordion(visible=False)
        traces = self.rungs.traces
        try:
            trace = traces.load(id)
            turns = traces.turns(trace.question.conversation_id)
        except AssistantError as error:
            return present.problem_html(str(error)), "", "", closed, ""
        shown = story_html(trace, traces.feedback(trace.id), turns)
        return shown, trace.id, draft_of(trace), gr.Accordion(visible=True, open=False), ""

    def corrected(self, trace_id: str, text: str | None, consent: bool, by: str) -> str:
        """Keep what should have been answered; None is that the answer was right."""
        try:
            kept = self.rungs.corrections.add(trace_id, text, by, source="console", consent=consent)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return said(
            f"Kept, {kept.distance:.0%} different from the draft. It waits for approval under Adaptation, Review."
        )


def build_tab(rungs: Rungs) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = QuestionsDesk(rungs)
    with gr.Row(elem_classes="filters"):
        text = gr.Textbox(label="Question contains", elem_id="questions-text")
        level = gr.Dropdown([ANY, "prompting", "rag", "lora"], value=ANY, label="Level")
        outcome = gr.Dropdown([ANY, "answered", "abstained", "handed_off", "interrupted"], value=ANY, label="Outcome")
        surface = gr.Dropdown([ANY], value=ANY, label="Surface")
        period = gr.Dropdown(list(PERIODS), value="all time", label="Asked")
        doubtful = gr.Slider(0, 1, value=1, step=0.05, label="Confidence at most")
    with gr.Row(elem_classes="told-row"):
        told = gr.Markdown(elem_id="told")
        refresh = gr.Button("Refresh", elem_id="refresh", size="sm")
    questions = gr.HTML(elem_id="questions", js_on_load=CHOOSES)
    trace_id = gr.State("")
    trace = gr.HTML(NOTHING, elem_id="trace")
    corrected = _correcting(desk, trace_id)
    filters = [level, outcome, surface, text, doubtful, period]
    filling: dict[str, Any] = {"fn": desk.listed, "inputs": filters, "outputs": [questions, told, surface], **QUIET}
    changes = [one.change for one in (level, outcome, surface, period)]
    for start in (refresh.click, doubtful.release, text.submit, *changes):
        start(**filling)

    def opens(event: gr.EventData) -> tuple[str, str, str, Any, str]:
        return desk.opened(str(event.id))

    questions.click(opens, None, [trace, trace_id, *corrected], **QUIET)
    return [filling]


def _correcting(desk: QuestionsDesk, trace_id: gr.State) -> tuple[Any, ...]:
    """The box of corrections; returns what opening a question sets: the text, the box, what was kept."""
    with gr.Accordion("Correct this answer", open=False, visible=False, elem_id="correct-box") as box:
        right = gr.Textbox(
            label="What should have been answered", lines=3, max_length=CHARACTERS_MAX, elem_id="correct-text"
        )
        agreed = gr.Checkbox(label=CONSENT, elem_id="correct-consent")
        with gr.Row(elem_classes="box-buttons"):
            was_right = gr.Button("The answer was right", size="sm", elem_id="correct-right")
            decline = gr.Button("Should have been declined", size="sm", elem_id="correct-decline")
            keep = gr.Button("Keep the correction", size="sm", variant="primary", elem_id="correct-keep")
        kept = gr.HTML(elem_id="correct-kept")
    keep.click(_corrects(desk), [trace_id, agreed, right], kept, **QUIET)
    was_right.click(_corrects(desk, None), [trace_id, agreed], kept, **QUIET)
    decline.click(_corrects(desk, DECLINE), [trace_id, agreed], kept, **QUIET)
    return right, box, kept


def _corrects(desk: QuestionsDesk, *fixed: str | None) -> Any:
    """Keeps what was typed, or a text that is fixed."""
    if fixed:

        def keep_fixed(trace_id: str, consent: bool, request: gr.Request) -> str:
            return desk.corrected(trace_id, fixed[0], consent, person(request))

        return keep_fixed

    def keep(trace_id: str, consent: bool, text: str, request: gr.Request) -> str:
        return desk.corrected(trace_id, text, consent, person(request))

    return keep


def _row(summary: TraceSummary) -> list[str]:
    outcome = summary.status if summary.outcome is None else present.OUTCOME_WORDS[summary.outcome]
    return [
        summary.started_at[:16].replace("T", " "),
        summary.question[:200],
        summary.level or "",
        outcome,
        "" if summary.confidence is None else f"{summary.confidence:.0%}",
        "" if summary.seconds is None else f"{summary.seconds:.2f}",
        THUMBS[summary.feedback],
        summary.surface,
    ]
