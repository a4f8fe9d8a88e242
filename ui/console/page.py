"""The owner's page (Gradio): a list of tabs, each in a file of its own under a header that counts.

A tab is filled when it is opened. To add one: a new file with `build_tab`, and one line here. Mounted by `server.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui import present
from ui.access.people import People
from ui.access.visitors import who_asks
from ui.console import adapting, knowledge, overview, people, questions, settings, sites, unanswered
from ui.present.people import account_html
from ui.present.tables import empty

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.background import Background

UPLOADS_KEPT = (600, 86_400)
"""Every so many seconds, uploaded files that are older than so many are removed."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
LOOK_SECONDS = 20.0
"""Between two counts of what waits."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the page shows besides its tabs."""

    rungs: Rungs
    people: People

    def header(self, request: gr.Request) -> str:
        """The page's name, who reads it, and what waits for them."""
        waiting, handed = self.rungs.corrections.counts()["waiting"], len(self.rungs.desk.inbox("waiting"))
        counts = (
            (waiting, "correction waits for review", "corrections wait for review"),
            (handed, "hand-off", "hand-offs"),
        )
        chips = "".join(
            f'<span class="chip">{count} {one if count == 1 else many}</span>' for count, one, many in counts if count
        )
        degraded = present.problem_html(self.rungs.store.degraded) if self.rungs.store.degraded else ""
        bar = account_html(who_asks(request), self.people.any, "/console/")
        return (
            '<header class="rungs-header"><h1>Rungs console</h1><p>What was asked, which level answered, and why.</p>'
            f'{bar}<div class="chips" role="status">{chips}</div>{degraded}</header>'
        )

    def counted(self, request: gr.Request) -> tuple[str, Any]:
        """The header, and how many corrections wait, on the tab where they do."""
        waiting = self.rungs.corrections.counts()["waiting"]
        return self.header(request), gr.Tab(label=f"Adaptation ({waiting})" if waiting else "Adaptation")

    def handoffs(self) -> str:
        """Who waits for a person."""
        items = "".join(
            f"<details><summary>{present.escaped(h.asked_at[:16].replace('T', ' '))} · {present.escaped(h.reason)}"
            "</summary>"
            f'<div class="passage">{present.escaped(h.note)}</div><div class="address">conversation '
            f"{present.escaped(h.conversation_id)}</div></details>"
            for h in self.rungs.desk.inbox("waiting")
        )
        return items or empty("Nobody is waiting for a person.")


def build_console(rungs: Rungs, background: Background) -> gr.Blocks:
    """The page.

    Args:
        rungs: out of `build`.
        background: does the long work that tabs start.
    """
    console = Console(rungs, People(rungs.engine))
    with gr.Blocks(title="Rungs console", analytics_enabled=False, delete_cache=UPLOADS_KEPT) as blocks:
        header = gr.HTML(elem_id="console-header")
        with gr.Tab("Overview") as first:
            opening = _fills(first, overview.build_tab(rungs))
        with gr.Tab("Conversations") as tab:
            _fills(tab, questions.build_tab(rungs))
        with gr.Tab("Hand-offs") as tab:
            waiting = gr.HTML(elem_id="handoffs")
            _fills(tab, [{"fn": console.handoffs, "inputs": None, "outputs": waiting, **QUIET}])
        with gr.Tab("Unanswered") as tab:
            _fills(tab, unanswered.build_tab(rungs))
        with gr.Tab("Knowledge") as tab:
            _fills(tab, knowledge.build_tab(rungs, background))
        with gr.Tab("Adaptation") as review:
            adapting.build_tab(rungs, blocks)
        with gr.Tab("Sites"):
            sites.build_tab(rungs, blocks)
        with gr.Tab("People") as tab:
            _fills(tab, people.build_tab(rungs))
        with gr.Tab("Settings") as tab:
            _fills(tab, settings.build_tab(rungs, background))
        counting: dict[str, Any] = {"fn": console.counted, "inputs": None, "outputs": [header, review], **QUIET}
        for filling in (*opening, counting):
            blocks.load(**filling)
        gr.Timer(LOOK_SECONDS).tick(**counting)
    return blocks


def _fills(tab: Any, fillings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fill a tab whenever it is opened."""
    for filling in fillings:
        tab.select(**filling)
    return fillings
