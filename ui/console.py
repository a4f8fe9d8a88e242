"""The owner's page (Gradio).

Every question with its level and outcome, one trace at full depth and its correction, the share of each level,
hand-offs, sources; adaptation is a tab of its own (`console_adapting.py`). Mounted by `server.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.corrections import CHARACTERS_MAX, draft_of
from assistant.errors import AssistantError
from assistant.prompts import DECLINE
from assistant.traces import TraceSummary
from ui import console_sites, present
from ui.console_adapting import CONSENT, build_tab, person
from ui.control import EXPECTED

if TYPE_CHECKING:
    from assistant.build import Rungs

ANY = "any"
PERIODS: Mapping[str, timedelta | None] = {
    "all time": None,
    "last hour": timedelta(hours=1),
    "last day": timedelta(days=1),
    "last week": timedelta(days=7),
}
COLUMNS = ("Asked", "Question", "Level", "Outcome", "Confidence", "Seconds", "Rated")
PAGE_ROWS = 200
UPLOADS_KEPT = (600, 86_400)
"""Every so many seconds, uploaded files that are older than so many are removed."""
THUMBS = {1: "helpful", -1: "not helpful", 0: ""}
HEADER = (
    '<header class="rungs-header"><h1>Rungs console</h1><p>What was asked, which level answered, and why.</p></header>'
)
NOTHING = '<p class="empty">Choose a question above to see how it was answered.</p>'


@dataclass(frozen=True, slots=True)
class Console:
    """The console's handlers."""

    rungs: Rungs

    def listed(
        self, level: str, outcome: str, text: str, doubtful: float, period: str
    ) -> tuple[list[list[str]], list[str], str, str]:
        """Rows, their trace ids, the picture of shares, and how many rows there are."""
        span = PERIODS[period]
        since = (datetime.now(UTC) - span).isoformat(timespec="milliseconds") if span else None
        found = self.rungs.traces.find(
            level=None if level == ANY else level,
            outcome=None if outcome == ANY else outcome,
            text=text or "",
            confidence_max=doubtful if doubtful < 1 else None,
            since=since,
            limit=PAGE_ROWS,
        )
        told = (
            f"{len(found)} question{'' if len(found) == 1 else 's'}"
            if found
            else "No question matches. Ask one on the chat page, or widen the filters."
        )
        shares = present.shares_html(self.rungs.traces.shares(since))
        return [_row(summary) for summary in found], [summary.id for summary in found], shares, told

    def opened(self, ids: Sequence[str], event: gr.SelectData) -> tuple[str, str, str, Any, str]:
        """One trace at full depth, its id, and what a correction of it starts from."""
        row = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        closed = gr.Accordion(visible=False)
        if row >= len(ids):
            return NOTHING, "", "", closed, ""
        try:
            trace = self.rungs.traces.load(ids[row])
        except AssistantError as error:
            return present.problem_html(str(error)), "", "", closed, ""
        shown = present.trace_html(trace, [(f.value, f.reason) for f in self.rungs.traces.feedback(trace.id)])
        return shown, trace.id, draft_of(trace), gr.Accordion(visible=True), ""

    def corrected(self, trace_id: str, text: str | None, consent: bool, by: str) -> str:
        """Keep what should have been answered; None is that the answer was right."""
        try:
            kept = self.rungs.corrections.add(trace_id, text, by, source="console", consent=consent)
        except EXPECTED as error:
            return present.problem_html(str(error))
        told = f"Kept, {kept.distance:.0%} different from the draft. It waits for approval under Adaptation, Review."
        return f'<p class="told" role="status">{present.escaped(told)}</p>'

    def handoffs(self) -> str:
        """Who waits for a person."""
        items = "".join(
            f"<details><summary>{present.escaped(h.asked_at[:16].replace('T', ' '))} · {present.escaped(h.reason)}"
            "</summary>"
            f'<div class="passage">{present.escaped(h.note)}</div><div class="address">conversation '
            f"{present.escaped(h.conversation_id)}</div></details>"
            for h in self.rungs.desk.inbox("waiting")
        )
        return items or '<p class="empty">Nobody is waiting for a person.</p>'

    def knowledge(self) -> str:
        """What is known and from where."""
        sources = self.rungs.store.sources()
        if not sources:
            return '<p class="empty">Nothing is known yet. Add documents with: rungs ingest PATH</p>'
        warning = present.problem_html(self.rungs.store.degraded) if self.rungs.store.degraded else ""
        rows = {s.source: f"{s.documents} documents, {s.passages} passages, {s.updated_at[:16]}" for s in sources}
        return warning + present.facts(rows)


def build_console(rungs: Rungs) -> gr.Blocks:
    """The page."""
    console = Console(rungs)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    with gr.Blocks(title="Rungs console", analytics_enabled=False, delete_cache=UPLOADS_KEPT) as blocks:
        gr.HTML(HEADER)
        shares = gr.HTML()
        with gr.Tab("Questions"):
            with gr.Row():
                level = gr.Dropdown([ANY, "prompting", "rag", "lora"], value=ANY, label="Level")
                outcome = gr.Dropdown(
                    [ANY, "answered", "abstained", "handed_off", "interrupted"], value=ANY, label="Outcome"
                )
                period = gr.Dropdown(list(PERIODS), value="all time", label="Asked")
                doubtful = gr.Slider(0, 1, value=1, step=0.05, label="Confidence at most")
                text = gr.Textbox(label="Question contains")
            with gr.Row(elem_id="rungs-footer"):
                told = gr.Markdown(elem_id="told")
                refresh = gr.Button("Refresh", elem_id="refresh", size="sm")
            table = gr.Dataframe(
                headers=list(COLUMNS), interactive=False, wrap=True, max_height=360, elem_id="questions", datatype="str"
            )
            ids = gr.State([])
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
            trace_id = gr.State("")
            trace = gr.HTML(NOTHING, elem_id="trace")
        with gr.Tab("Hand-offs"):
            waiting = gr.HTML()
        with gr.Tab("Knowledge"):
            known = gr.HTML()
        with gr.Tab("Adaptation"):
            build_tab(rungs, blocks)
        with gr.Tab("Sites"):
            console_sites.build_tab(rungs, blocks)
        filters, shown = [level, outcome, text, doubtful, period], [table, ids, shares, told]
        for start in (
            refresh.click,
            level.change,
            outcome.change,
            period.change,
            doubtful.release,
            text.submit,
            blocks.load,
        ):
            start(console.listed, filters, shown, **quiet)
        for start in (refresh.click, blocks.load):
            start(console.handoffs, None, waiting, **quiet)
            start(console.knowledge, None, known, **quiet)
        table.select(console.opened, ids, [trace, trace_id, right, box, kept], **quiet)
        keep.click(_corrects(console), [trace_id, agreed, right], kept, **quiet)
        was_right.click(_corrects(console, None), [trace_id, agreed], kept, **quiet)
        decline.click(_corrects(console, DECLINE), [trace_id, agreed], kept, **quiet)
    return blocks


def _corrects(console: Console, *fixed: str | None) -> Any:
    """Keeps what was typed, or a text that is fixed."""
    if fixed:

        def keep_fixed(trace_id: str, consent: bool, request: gr.Request) -> str:
            return console.corrected(trace_id, fixed[0], consent, person(request))

        return keep_fixed

    def keep(trace_id: str, consent: bool, text: str, request: gr.Request) -> str:
        return console.corrected(trace_id, text, consent, person(request))

    return keep


def _row(summary: TraceSummary) -> list[str]:
    outcome = summary.status if summary.outcome is None else present.OUTCOME_WORDS[summary.outcome]
    return [
        summary.started_at[:19].replace("T", " "),
        summary.question[:200],
        summary.level or "",
        outcome,
        "" if summary.confidence is None else f"{summary.confidence:.0%}",
        "" if summary.seconds is None else f"{summary.seconds:.2f}",
        THUMBS[summary.feedback],
    ]
