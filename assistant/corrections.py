"""What people corrected: draft, correction, how far apart they are, and whether it may be trained on.

A correction waits until a reviewer approves it; only then, and only where the person who asked agreed, does it become
an example. An answer that was right is approved as it is. Called by the commands, the console and the copilot.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import SequenceMatcher
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, delete, func, insert, select, update

from assistant.errors import AssistantError
from assistant.tables import corrections, questions
from assistant.trace_json import parse_trace
from assistant.types import Trace
from knowledge.database import reading, writing
from knowledge.text import clean

State = Literal["waiting", "approved", "rejected"]
STATES: tuple[State, ...] = ("waiting", "approved", "rejected")
CHARACTERS_MAX = 8000
ID_BYTES = 8
_MARKER = re.compile(r"\s*\[\d{1,2}\]")


@dataclass(frozen=True, slots=True)
class Correction:
    """What should have been answered to a question."""

    id: str
    trace_id: str
    question: str
    draft: str
    """What was answered, or drafted and held back; empty where there was nothing."""
    correction: str
    distance: float
    """How far apart the two are, by words: 0 says the same, 1 has no word in common."""
    source: str
    """Where it was made: `console`, `copilot`, `command line`."""
    consent: bool
    """Whether whoever asked agreed to it being trained on, or nothing in it is anybody's own."""
    state: State
    made_by: str
    made_at: str
    reviewed_by: str | None
    reviewed_at: str | None


class CorrectionStore:
    """Corrections in SQL. Safe to use from several threads; the tables are the trace store's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, trace_id: str, text: str | None, by: str, *, source: str, consent: bool = False, approve: bool = False
    ) -> Correction:
        """Keep a correction; on disk when this returns. One that waits for the same question is replaced.

        Args:
            trace_id: of the question.
            text: what should have been said; None: what was said is right.
            by: who says so.
            source: where.
            consent: see `Correction.consent`.
            approve: by the same person, at once.

        Raises:
            AssistantError: there is no such question, it has no answer to be right, or the text is empty or too long.
        """
        with writing(self._engine) as connection:
            draft = draft_of(_trace(connection, trace_id))
            text = clean(draft if text is None else text).strip()
            if not text:
                raise AssistantError("a correction needs a text: what should have been answered.")
            if len(text) > CHARACTERS_MAX:
                raise AssistantError(f"a correction has at most {CHARACTERS_MAX:,} characters; this has {len(text):,}.")
            fresh, now = secrets.token_hex(ID_BYTES), _now()
            row = {
                "id": fresh,
                "question": trace_id,
                "draft": draft,
                "correction": text,
                "distance": distance(draft, text),
                "source": clean(source),
                "consent": consent,
                "state": "approved" if approve else "waiting",
                "made_by": clean(by),
                "made_at": now,
                "reviewed_by": clean(by) if approve else None,
                "reviewed_at": now if approve else None,
            }
            same = (corrections.c.question == trace_id) & (corrections.c.state == "waiting")
            connection.execute(delete(corrections).where(same))
            connection.execute(insert(corrections), row)
            return _one(connection, fresh)

    def review(
        self, id: str, state: Literal["approved", "rejected"], by: str, *, consent: bool | None = None
    ) -> Correction:
        """Approve or reject a correction; a later review may change its mind.

        Args:
            id: of the correction.
            state: what the reviewer says.
            by: who.
            consent: whether it may be trained on; None leaves it as it was said.

        Raises:
            AssistantError: there is no such correction.
        """
        changed: dict[str, Any] = {"state": state, "reviewed_by": clean(by), "reviewed_at": _now()}
        if consent is not None:
            changed["consent"] = consent
        with writing(self._engine) as connection:
            connection.execute(update(corrections).where(corrections.c.id == clean(id)).values(**changed))
            return _one(connection, id)

    def find(self, state: State | None = None, limit: int = 200, offset: int = 0) -> tuple[Correction, ...]:
        """Corrections, the latest first."""
        query = _all().order_by(corrections.c.number.desc()).limit(limit).offset(offset)
        if state:
            query = query.where(corrections.c.state == state)
        with reading(self._engine) as connection:
            return tuple(_correction(row) for row in connection.execute(query))

    def counts(self) -> dict[State, int]:
        """How many there are in each state."""
        query = select(corrections.c.state, func.count()).group_by(corrections.c.state)
        with reading(self._engine) as connection:
            found: dict[str, int] = {state: number for state, number in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Approved corrections as training rows (`adapters.reading` says which fields), oldest first.

        Passages are left out: whoever makes the set shows what serving would show now.
        """
        query = _all().add_columns(questions.c.record, questions.c.conversation)
        with reading(self._engine) as connection:
            found = connection.execute(
                query.where(corrections.c.state == "approved").order_by(corrections.c.number)
            ).all()
        latest = {row.question: row for row in found}  # of one question the latest approved correction counts
        for row in latest.values():
            trace = parse_trace(row.record)
            yield {
                "id": f"correction-{row.id}",
                "question": trace.question.text,
                "answer": _MARKER.sub("", row.correction),
                "history": [{"role": turn.role, "text": _MARKER.sub("", turn.text)} for turn in trace.question.history],
                "source": f"corrections ({row.source})",
                "conversation": row.conversation,
                "approved_by": row.reviewed_by,
                "consent": row.consent,
                "rejected": _MARKER.sub("", row.draft) if row.distance else "",
                "distance": row.distance,
            }


def draft_of(trace: Trace) -> str:
    """What was answered; where nothing was, the last draft that was held back."""
    if trace.answer.outcome == "answered":
        return trace.answer.text
    held_back = [attempt.draft.text for attempt in trace.attempts if attempt.draft and attempt.draft.text.strip()]
    return held_back[-1] if held_back else ""


def distance(draft: str, correction: str) -> float:
    """How far two texts are apart, by words (difflib's ratio), 0 to 1; marks of citations do not count."""
    one, other = (_MARKER.sub("", text).split() for text in (draft, correction))
    return round(1 - SequenceMatcher(None, one, other, autojunk=False).ratio(), 4)


def _trace(connection: Connection, trace_id: str) -> Trace:
    row = connection.execute(select(questions.c.record).where(questions.c.id == clean(trace_id))).first()
    if row is None or not row.record:
        raise AssistantError(f"there is no answered question {trace_id!r} to correct.")
    return parse_trace(row.record)


def _all() -> Select[Any]:
    return select(corrections, questions.c.text).join(questions, questions.c.id == corrections.c.question)


def _one(connection: Connection, id: str) -> Correction:
    row = connection.execute(_all().where(corrections.c.id == clean(id))).first()
    if row is None:
        raise AssistantError(f"there is no correction {id!r}. `rungs examples list` shows what there is.")
    return _correction(row)


def _correction(row: Row[Any]) -> Correction:
    return Correction(
        row.id,
        row.question,
        row.text,
        row.draft,
        row.correction,
        row.distance,
        row.source,
        row.consent,
        row.state,
        row.made_by,
        row.made_at,
        row.reviewed_by,
        row.reviewed_at,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
