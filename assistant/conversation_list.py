"""All conversations, whoever's they are: for owners and their programs. Reads the trace store's tables.

Called by `ui/api/rest.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, Select, func, select

from assistant.errors import AssistantError
from assistant.tables import conversations, questions
from knowledge.database import reading
from knowledge.text import clean


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as a program lists it; who the visitor is stays out of it."""

    id: str
    title: str
    surface: str
    site: str
    started_at: str
    updated_at: str
    turns: int


def list_conversations(engine: Engine, limit: int = 100, offset: int = 0) -> tuple[Conversation, ...]:
    """Conversations, those that were opened last first."""
    query = _all().order_by(conversations.c.number.desc()).limit(limit).offset(offset)
    with reading(engine) as connection:
        return tuple(_conversation(row) for row in connection.execute(query))


def find_conversation(engine: Engine, id: str) -> Conversation:
    """One of them.

    Raises:
        AssistantError: there is none.
    """
    with reading(engine) as connection:
        row = connection.execute(_all().where(conversations.c.id == clean(id))).first()
    if row is None:
        raise AssistantError(f"there is no conversation {id!r}.")
    return _conversation(row)


def _all() -> Select[Any]:
    asked = (
        select(func.count())
        .where(questions.c.conversation == conversations.c.id, ~questions.c.superseded)
        .scalar_subquery()
    )
    return select(conversations, asked.label("turns"))


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(row.id, row.title, row.surface, row.site, row.started_at, row.updated_at, row.turns)
