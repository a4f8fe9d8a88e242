"""What a hand-off is: a conversation that waits for a person, why it does, and what was tried before.

The reason is typed, so that an inbox can be sorted by it and an owner sees why people are needed. Rows are made here,
inside the caller's transaction; who works on them is `desk.py`. Called by `traces.py` and `desk.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy import Connection, insert, select, update

from assistant.routing import wants_person
from assistant.tables import handoffs
from assistant.types import Trace
from knowledge.text import clean

Kind = Literal["asked_for_person", "nothing_known", "low_confidence", "policy", "failure"]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["waiting", "in_progress", "resolved"]
STATES: tuple[State, ...] = get_args(State)
REASONS: dict[Kind, str] = {
    "asked_for_person": "asked for a person",
    "nothing_known": "nothing known about it",
    "low_confidence": "not sure enough",
    "policy": "a topic for people only",
    "failure": "something failed",
}
"""Each kind in words."""
NOTE_CHARACTERS = 2000
SUMMARY_TURNS = 10
SUMMARY_CHARACTERS = 300
ID_BYTES = 16


def kind_of(trace: Trace | None) -> Kind:
    """Why a person is needed after this answer; None: nothing was asked yet."""
    if trace is None or trace.answer.outcome == "answered":
        return "asked_for_person"
    if trace.answer.outcome == "handed_off":
        return "asked_for_person" if wants_person(trace.question) else "policy"
    tried = [attempt for attempt in trace.attempts if attempt.skipped_because is None]
    if tried and all(attempt.failure for attempt in tried):
        return "failure"
    return "low_confidence" if trace.evidence.hits else "nothing_known"


def open_handoff(connection: Connection, conversation_id: str, kind: Kind, note: str = "") -> tuple[str, bool]:
    """A conversation waits for a person from now on; one that waits already keeps its place and gets the note, too.

    Returns:
        The hand-off's id, and whether it is new.
    """
    conversation, note = clean(conversation_id), clean(note).strip()[:NOTE_CHARACTERS]
    same = (handoffs.c.conversation == conversation) & (handoffs.c.state != "resolved")
    row = connection.execute(select(handoffs.c.id, handoffs.c.note).where(same)).first()
    if row is not None:
        if note:
            added = "\n".join(part for part in (row.note, note) if part)[-NOTE_CHARACTERS:]
            connection.execute(update(handoffs).where(handoffs.c.id == row.id).values(note=added))
        return row.id, False
    fresh = secrets.token_hex(ID_BYTES)
    values = {"id": fresh, "conversation": conversation, "kind": kind, "note": note, "state": "waiting"}
    connection.execute(insert(handoffs), {**values, "reason": REASONS[kind], "summary": "", "asked_at": _now()})
    return fresh, True


def summary(traces: Iterable[Trace], note: str = "") -> str:
    """A conversation in a few lines for the person who takes over: the note, what was asked, what was tried."""
    lines = [f"Note: {note}"] if note else []
    for trace in list(traces)[-SUMMARY_TURNS:]:
        lines.append(f"Asked: {_short(trace.question.text)}")
        lines += [f"  Tried {step}" for step in _tried(trace)]
        if trace.answer.outcome == "answered":
            lines.append(f"  Answered: {_short(trace.answer.text)}")
    return "\n".join(lines) or "No question was asked yet."


def _tried(trace: Trace) -> Iterable[str]:
    for attempt in trace.attempts:
        if attempt.skipped_because is not None:
            continue
        sure = "" if attempt.confidence is None else f", {attempt.confidence:.0%} sure"
        became = "accepted" if attempt.accepted else "failed" if attempt.failure else "held back"
        yield f"{attempt.level}: {became}{sure}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SUMMARY_CHARACTERS else line[: SUMMARY_CHARACTERS - 1] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
