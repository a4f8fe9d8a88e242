"""The owner's overview (Gradio): what was asked in a period, how it ended, what it cost. Mounted by `page.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.fates import asked
from assistant.overview import Price, overview
from ui.console.files import OVERVIEW_CSV, link
from ui.present.overview import overview_html

if TYPE_CHECKING:
    from assistant.build import Rungs

PERIODS: Mapping[str, timedelta | None] = {
    "Last 24 hours": timedelta(days=1),
    "Last 7 days": timedelta(days=7),
    "Last 30 days": timedelta(days=30),
    "All time": None,
}
USUAL = "Last 30 days"


@dataclass(frozen=True, slots=True)
class OverviewDesk:
    """The tab's handlers."""

    rungs: Rungs

    def shown(self, period: str) -> str:
        """The period in pictures, and its rows as a file."""
        span, now = PERIODS[period], datetime.now(UTC)
        since = since_of(span, now)
        settings = self.rungs.settings
        found = overview(asked(self.rungs.engine, since), now, span)
        files = link(OVERVIEW_CSV, "Download as CSV", since=since) if found.questions else ""
        return overview_html(found, Price(settings.price_in, settings.price_out)) + files


def since_of(span: timedelta | None, now: datetime) -> str | None:
    """Where a period begins, as traces note times."""
    return (now - span).isoformat(timespec="milliseconds") if span else None


def build_tab(rungs: Rungs) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = OverviewDesk(rungs)
    with gr.Row(elem_classes="filters"):
        period = gr.Radio(list(PERIODS), value=USUAL, label="Period", elem_id="overview-period")
        refresh = gr.Button("Refresh", size="sm", elem_id="overview-refresh")
    shown = gr.HTML(elem_id="overview")
    filling: dict[str, Any] = {
        "fn": desk.shown,
        "inputs": period,
        "outputs": shown,
        "api_visibility": "private",
        "show_progress": "hidden",
    }
    for start in (period.change, refresh.click):
        start(**filling)
    return [filling]
