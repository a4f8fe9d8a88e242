"""Rows of questions as what they mean: a summary, a record, the latest thumbs. Called by `traces.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, select

from assistant.errors import AssistantError
from assistant.stored import TraceSummary
from assistant.tables import feedback, questions

T = TypeVar("T")


def thumbs_of(connection: Connection, found: Select[Any]) -> dict[str, int]:
    """The latest thumb of each question that `found` selects."""
    chosen = found.with_only_columns(questions.c.id).subquery()
    query = select(feedback.c.question, feedback.c.value).join(chosen, chosen.c.id == feedback.c.question)
    return {question: value for question, value in connection.execute(query.order_by(feedback.c.number))}


def read_record(parse: Callable[[str], T], row: Row[Any]) -> T:
    """What a question's record says.

    Raises:
        AssistantError: it is damaged.
    """
    try:
        return parse(row.record)
    except (ValueError, KeyError, TypeError) as error:
        raise AssistantError(f"the record of trace {row.id!r} is damaged ({error}). Restore a backup.") from error


def summary_of(row: Row[Any], thumb: int) -> TraceSummary:
    """A question's row as the console lists it, with its latest thumb."""
    return TraceSummary(
        id=row.id,
        conversation_id=row.conversation,
        question=row.text,
        status=row.status,
        level=row.level,
        outcome=row.outcome,
        confidence=row.confidence,
        seconds=row.seconds,
        tokens=(row.tokens_in or 0) + (row.tokens_out or 0),
        surface=row.surface,
        started_at=row.started_at,
        feedback=thumb,
    )
