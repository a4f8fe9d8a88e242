"""What became of every question: resolved or not, declined, handed off. Reads rows and applies definitions.

A hand-off belongs to the last question of its conversation that was asked before it, other than "I want a person".
Called by `overview.py` and `gaps.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Engine, Row, select

from assistant.tables import feedback, handoffs, questions
from assistant.types import DRAFTING
from knowledge.database import reading

Fate = Literal["confirmed", "assumed", "disputed", "declined", "handed_off", "asked_again", "interrupted"]
"""Exactly one for each question; an answer is resolved where it is `confirmed` (thumbs up) or `assumed`."""
FATES: tuple[Fate, ...] = get_args(Fate)
QUESTIONS_MAX = 200_000
"""Questions that are looked at, the latest first: a bound on time and memory."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what became of it."""

    id: str
    conversation_id: str
    text: str
    surface: str
    level: str | None
    """That answered; None where none did."""
    fate: Fate
    thumb: int
    handoffs: int
    """How often a person was asked for right after it."""
    wants_person: bool
    """Whether all it asks for is a person."""
    started_at: str
    seconds: float | None
    tokens_in: int
    tokens_out: int


def asked(engine: Engine, since: str | None = None) -> tuple[Asked, ...]:
    """Every question that is closed, in order.

    Args:
        engine: of the traces.
        since: ISO 8601, UTC; None is from the beginning.
    """
    asked = (questions.c.status != "started") & (
        questions.c.surface != DRAFTING
    )  # an agent's draft is nobody's question
    query = select(questions).where(asked).order_by(questions.c.number.desc())
    if since:
        query = query.where(questions.c.started_at >= since)
    wanted = [column for column in questions.c if column.name not in ("record", "answer", "versions")]
    with reading(engine) as connection:
        rows = connection.execute(query.with_only_columns(*wanted).limit(QUESTIONS_MAX)).all()[::-1]
        thumbs = _thumbs(connection, since)
        called = _called(connection, rows, since)
    return tuple(_asked(row, thumbs.get(row.id, 0), called.get(row.id, 0)) for row in rows)


def _asked(row: Row[Any], thumb: int, called: int) -> Asked:
    return Asked(
        id=row.id,
        conversation_id=row.conversation,
        text=row.text,
        surface=row.surface,
        level=row.level,
        fate=_fate(row, thumb, called),
        thumb=thumb,
        handoffs=called,
        wants_person=row.outcome == "handed_off",
        started_at=row.started_at,
        seconds=row.seconds,
        tokens_in=row.tokens_in or 0,
        tokens_out=row.tokens_out or 0,
    )


def _fate(row: Row[Any], thumb: int, called: int) -> Fate:
    if row.status == "interrupted":
        return "interrupted"
    if row.outcome == "handed_off" or called:
        return "handed_off"
    if row.superseded:
        return "asked_again"
    if row.outcome == "abstained":
        return "declined"
    return {1: "confirmed", -1: "disputed"}.get(thumb, "assumed")  # type: ignore[return-value]


def _thumbs(connection: Connection, since: str | None) -> dict[str, int]:
    """The latest thumb of each question; one is given after its question was asked."""
    query = select(feedback.c.question, feedback.c.value).order_by(feedback.c.number)
    if since:
        query = query.where(feedback.c.given_at >= since)
    return {question: value for question, value in connection.execute(query)}


def _called(connection: Connection, rows: Iterable[Row[Any]], since: str | None) -> dict[str, int]:
    """How many hand-offs belong to each question."""
    query = select(handoffs.c.conversation, handoffs.c.asked_at)
    if since:
        query = query.where(handoffs.c.asked_at >= since)
    turns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    called: Counter[str] = Counter()
    for row in rows:
        if row.outcome != "handed_off":
            turns[row.conversation].append((row.started_at, row.id))
        elif turns[row.conversation]:
            called[turns[row.conversation][-1][1]] = 1
    recorded: Counter[str] = Counter()
    for conversation, at in connection.execute(query):
        before = bisect_right([started for started, _ in turns[conversation]], at)
        if before:
            recorded[turns[conversation][before - 1][1]] += 1
    return called | recorded
