"""Gives a browser's conversations to an account, because its visitor asked for it. Called by the chat page."""

from __future__ import annotations

from sqlalchemy import Engine, update

from assistant.tables import conversations
from knowledge.database import writing
from knowledge.text import clean


def move_conversations(engine: Engine, visitor: str, to: str) -> int:
    """From now on a visitor's conversations are another's. Returns how many there were.

    Args:
        engine: of the database.
        visitor: whose they are now.
        to: whose they become.

    Raises:
        KnowledgeError: the database cannot be written; nothing was moved.
    """
    with writing(engine) as connection:
        mine = conversations.c.visitor == clean(visitor)
        return connection.execute(update(conversations).where(mine).values(visitor=clean(to))).rowcount
