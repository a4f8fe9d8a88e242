"""What people write in a conversation: visitors, agents, the desk itself. Rows are made in the caller's transaction.

A message stands after the last question that was asked before it, so that people's and the assistant's words are one
thread. Called by `desk.py` and `thread.py`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, func, insert, select, update

from assistant.tables import conversations, messages, questions
from knowledge.text import clean

Author = Literal["visitor", "agent", "system", "note"]
AUTHORS: tuple[Author, ...] = get_args(Author)
"""Who wrote a message. A note is for agents' eyes only."""
CHARACTERS_MAX = 8000
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote, or the desk itself."""

    number: int
    """Messages are ordered by it."""
    id: str
    conversation_id: str
    after: int
    """The number of the last question asked before it: where it stands among the assistant's turns."""
    role: Author
    author: str
    text: str
    draft: str | None
    """The trace of the draft that it was made from."""
    rating: int
    made_at: str


def write(
    connection: Connection, conversation_id: str, role: Author, author: str, text: str,
    draft: str | None = None, once: str = "",
) -> Said:  # fmt: skip
    """Keep a message; see `Desk.say` for what is what."""
    conversation, id = clean(conversation_id), secrets.token_hex(ID_BYTES)
    last = select(func.coalesce(func.max(questions.c.number), 0)).where(questions.c.conversation == conversation)
    row: dict[str, Any] = {
        "id": id,
        "conversation": conversation,
        "after": connection.scalar(last) or 0,
        "role": role,
        "author": clean(author),
        "text": clean(text),
        "draft": draft,
        "once": clean(once) or id,
        "made_at": _now(),
    }
    connection.execute(insert(messages), row)
    connection.execute(
        update(conversations).where(conversations.c.id == conversation).values(updated_at=row["made_at"])
    )
    return said_of(connection.execute(select(messages).where(messages.c.id == id)).one())


def by_key(connection: Connection, conversation_id: str, once: str) -> Said | None:
    """The message that was kept under a sender's key."""
    if not once:
        return None
    same = (messages.c.conversation == clean(conversation_id)) & (messages.c.once == clean(once))
    row = connection.execute(select(messages).where(same)).first()
    return said_of(row) if row else None


def said_of(row: Row[Any]) -> Said:
    """A row as a message."""
    return Said(
        row.number, row.id, row.conversation, row.after, row.role, row.author, row.text, row.draft, row.rating,
        row.made_at,
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
