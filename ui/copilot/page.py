"""The agents' page (Gradio): an inbox, a conversation, a draft with its sources. Builds and wires.

What happens on the desk is in `acts.py`, what the model writes in `writing.py`. The page's script
(`static/copilot.js`) listens to `/live/desk` and turns keys and buttons in HTML into events. Mounted by `server.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.access.people import ROLES, People
from ui.access.visitors import who_asks
from ui.console.adapting import OWNER, person
from ui.copilot.acts import SHOWN, Acts
from ui.copilot.layout import layout
from ui.copilot.writing import Writing
from ui.present.people import account_html

if TYPE_CHECKING:
    from assistant.build import Rungs

QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True, slots=True)
class Wires:
    """The page's components, and the chain that follows everything that may have changed something."""

    parts: Mapping[str, Any]
    acts: Acts
    writing: Writing

    def named(self, *names: str) -> list[Any]:
        """Components by name."""
        return [self.parts[name] for name in names]

    def renewed(self, start: Any, **options: Any) -> Any:
        """Look again; then draft, where the visitor wrote something new."""
        inputs, outputs = self.named("shelf", "search", "open", "shown"), [*self.named(*SHOWN), self.parts["shown"]]
        looked = start(self.acts.look, inputs, outputs, **QUIET, **options)
        return looked.then(
            self.writing.draft_if_new,
            self.named("open", "level", "drafted"),
            self.named("draft", "draft_shown", "drafted"),
            trigger_mode="multiple",
            **QUIET,
        )

    def act(self, start: Any, act: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Do something, then look again."""
        self.renewed(start(act, self.named(*inputs), self.named(*outputs), **QUIET).then)


def build_copilot(rungs: Rungs) -> gr.Blocks:
    """The page."""
    acts = Acts(rungs)
    writing = Writing(rungs, threading.Semaphore(max(1, rungs.settings.slots - 1)))
    people = People(rungs.engine)
    with gr.Blocks(title="Rungs copilot", analytics_enabled=False) as blocks:
        wires = Wires(layout(agents_of(people)), acts, writing)
        _wire_looking(wires, blocks)
        _wire_desk(wires)
        _wire_answer(wires)
        _wire_tools(wires)

        def leave(request: gr.Request) -> None:
            writing.stop(request)
            rungs.desk.here(person(request))

        def agents() -> Any:
            return gr.update(choices=agents_of(people))

        def account(request: gr.Request) -> str:
            return account_html(who_asks(request), people.any, "/copilot/")

        blocks.unload(leave)
        blocks.load(account, None, wires.parts["account"], **QUIET)
        blocks.load(agents, None, wires.parts["to"], **QUIET)
    return blocks


def agents_of(people: People) -> list[str]:
    """Who can have a conversation: every agent and owner, or the owner of a machine without accounts."""
    least = ROLES.index("agent")
    return [account.name for account in people.accounts() if ROLES.index(account.role) >= least] or [OWNER]


def _wire_looking(wires: Wires, blocks: gr.Blocks) -> None:
    parts = wires.parts
    wires.renewed(parts["refresh"].click, trigger_mode="always_last")
    for start in (parts["beat"].tick, parts["shelf"].input, parts["search"].change, blocks.load):
        wires.renewed(start)
    opened = (
        "open",
        "kept",
        "reply",
        "used",
        "undo",
        "back_to",
        "once",
        "told",
        "draft",
        "draft_shown",
        "drafted",
        "pair_told",
    )
    stopped = parts["chosen"].change(wires.writing.stop, None, None, queue=False, **QUIET)
    wires.renewed(
        stopped.then(
            wires.acts.open,
            wires.named("chosen", "open", "kept", "reply", "used", "undo"),
            wires.named(*opened),
            **QUIET,
        ).then
    )


def _wire_desk(wires: Wires) -> None:
    parts, acts = wires.parts, wires.acts
    for name, act in (("take", acts.take), ("back", acts.give_back), ("resolve", acts.resolve)):
        wires.act(parts[name].click, act, ["open"], ["told"])
    wires.act(parts["reopen"].click, acts.reopen, ["open"], ["open", "told"])
    wires.act(parts["assign"].click, acts.assign, ["open", "to"], ["told"])
    wires.act(parts["note_keep"].click, acts.note, ["open", "note"], ["note", "told"])
    wires.act(parts["reported"].change, acts.report, ["reported", "open"], ["told"])


def _wire_answer(wires: Wires) -> None:
    parts, acts, writing = wires.parts, wires.acts, wires.writing
    sent = ["reply", "once", "used", "undo", "back_to", "told"]
    wires.act(parts["send"].click, acts.send, ["open", "reply", "once", "used", "undo"], sent)
    written = wires.named("reply", "told", "undo", "back_to")
    for change in ("shorter", "friendlier", "formal"):
        value = gr.State(change)
        parts[change].click(writing.changed, [parts["reply"], value, parts["undo"]], written, **QUIET)
    parts["translate"].click(writing.translated, wires.named("reply", "language", "undo"), written, **QUIET)
    parts["back_to"].click(acts.undone, parts["undo"], wires.named("reply", "undo", "back_to", "told"), **QUIET)
    parts["use"].click(
        acts.use,
        wires.named("draft", "reply", "undo"),
        wires.named("reply", "used", "undo", "back_to", "told"),
        **QUIET,
    )
    parts["quoted"].change(acts.quote, wires.named("quoted", "reply"), wires.named("reply", "told"), **QUIET)


def _wire_tools(wires: Wires) -> None:
    parts, acts, writing = wires.parts, wires.acts, wires.writing
    drafted = wires.named("draft", "draft_shown", "drafted")
    for start in (parts["again"].click, parts["level"].input):
        start(writing.draft, wires.named("open", "level"), drafted, trigger_mode="multiple", **QUIET)
    parts["halt"].click(writing.stop, None, None, queue=False, **QUIET)
    parts["summarise"].click(writing.summarised, parts["open"], parts["summary"], **QUIET)
    parts["query"].submit(acts.search, parts["query"], parts["hits"], **QUIET)
    pair = wires.named("pair_question", "pair_answer")
    parts["pair_fill"].click(acts.pair, wires.named("open", "reply"), pair, **QUIET)
    parts["pair_keep"].click(acts.keep_pair, pair, parts["pair_told"], **QUIET)
