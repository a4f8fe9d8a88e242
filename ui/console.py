"""The owner's page, first cut (Gradio).

Every question with its level and outcome, one trace at full depth, the share of each level, hand-offs, sources.

Reads the traces and formats them; changes nothing. Mounted by `server.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.errors import AssistantError
from assistant.traces import TraceSummary
from ui import present

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

    def opened(self, ids: Sequence[str], event: gr.SelectData) -> str:
        """One trace at full depth."""
        row = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        if row >= len(ids):
            return NOTHING
        try:
            trace = self.rungs.traces.load(ids[row])
        except AssistantError as error:
            return present.problem_html(str(error))
        return present.trace_html(trace, [(f.value, f.reason) for f in self.rungs.traces.feedback(trace.id)])

    def handoffs(self) -> str:
        """Who waits for a person."""
        items = "".join(
            f"<details><summary>{present.escaped(h.asked_at[:16].replace('T', ' '))} · {present.escaped(h.reason)}"
            "</summary>"
            f'<div class="passage">{present.escaped(h.summary)}</div><div class="address">conversation '
            f"{present.escaped(h.conversation_id)}</div></details>"
            for h in self.rungs.traces.handoffs()
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
    with gr.Blocks(title="Rungs console", analytics_enabled=False) as blocks:
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
            trace = gr.HTML(NOTHING, elem_id="trace")
        with gr.Tab("Hand-offs"):
            waiting = gr.HTML()
        with gr.Tab("Knowledge"):
            known = gr.HTML()
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
        table.select(console.opened, ids, trace, **quiet)
    return blocks


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
