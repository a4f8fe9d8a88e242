"""An agent's inbox: conversations that need a person, whoever waits longest first, with who looks at each.

Reads the desk and the traces; keeps nothing. Called by the copilot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from assistant.desk import Desk, HandOff
from assistant.traces import TraceStore

Shelf = Literal["waiting", "mine", "others", "resolved"]
SHELVES: tuple[Shelf, ...] = get_args(Shelf)
FOUND_MAX = 500
"""Questions looked through where a word is searched for."""
NEVER = "~"
"""Sorts behind every date."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation as an agent's inbox shows it."""

    handoff: HandOff
    waits_since: str
    """When the visitor began to wait for a person's word, ISO 8601; empty: it is not they who wait."""
    present: tuple[str, ...]
    """Other agents who look at it now."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What is on one shelf, and how many are on each."""

    rows: tuple[Row, ...]
    counts: Mapping[Shelf, int]


def inbox(desk: Desk, traces: TraceStore, agent: str, shelf: Shelf, text: str = "") -> Inbox:
    """The conversations on a shelf.

    Args:
        desk: hand-offs and who is present.
        traces: searched for `text`, too.
        agent: whose inbox; `mine` is theirs.
        shelf: which of them.
        text: only those in whose title, note, site, agent or questions it stands.
    """
    handoffs = desk.inbox()
    counts: dict[Shelf, int] = {name: sum(shelf_of(h, agent) == name for h in handoffs) for name in SHELVES}
    resolved = desk.counts()["resolved"]
    counts["resolved"] = max(counts["resolved"], resolved)
    found = [handoff for handoff in handoffs if shelf_of(handoff, agent) == shelf]
    wanted = text.strip()
    if wanted:
        asked = {summary.conversation_id for summary in traces.find(text=wanted, limit=FOUND_MAX)}
        found = [h for h in found if h.conversation_id in asked or wanted.casefold() in _words(h)]
    present = [one for one in desk.present() if one.agent != agent]
    rows = [
        Row(h, waits_since(desk, h), tuple(one.agent for one in present if one.conversation_id == h.conversation_id))
        for h in found
    ]
    if shelf != "resolved":
        rows.sort(key=lambda row: row.waits_since or NEVER)
    return Inbox(tuple(rows), counts)


def shelf_of(handoff: HandOff, agent: str) -> Shelf:
    """Where a hand-off stands for an agent."""
    if handoff.state == "in_progress":
        return "mine" if handoff.agent == agent else "others"
    return handoff.state


def waits_since(desk: Desk, handoff: HandOff) -> str:
    """Since when the visitor waits for a person's word; empty where they do not."""
    if handoff.state == "resolved":
        return ""
    since = handoff.asked_at
    for said in desk.messages(handoff.conversation_id):
        if said.made_at < handoff.asked_at:
            continue
        if said.role == "agent":
            since = ""
        elif said.role == "visitor" and not since:
            since = said.made_at
    return since


def _words(handoff: HandOff) -> str:
    told = (handoff.title, handoff.note, handoff.site, handoff.surface, handoff.agent or "", handoff.reason)
    return "\n".join(told).casefold()
