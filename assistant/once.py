"""The same key is the same question: what a client sends twice, since no answer reached it, is asked and paid for once.

Ids come of the sender's key, so that the database's own uniqueness settles who was first. Called by `traces.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets

from sqlalchemy import Connection, select

from assistant.errors import AskedBefore
from assistant.tables import conversations, questions

ID_BYTES = 16
"""128 bits: ids cannot be guessed."""


def conversation_id(visitor: str, once: str) -> str:
    """The id of a new conversation that is opened for a question with this key; a random one without a key."""
    return _named("conversation", visitor, once) if once else secrets.token_hex(ID_BYTES)


def is_open(connection: Connection, conversation: str) -> bool:
    """Whether there is such a conversation already."""
    return connection.scalar(select(conversations.c.id).where(conversations.c.id == conversation)) is not None


def trace_id(connection: Connection, conversation: str, once: str) -> str:
    """The id of a question with this key; a random one without a key. One that was interrupted may be asked again.

    Raises:
        AskedBefore: it was answered, or is being answered.
    """
    if not once:
        return secrets.token_hex(ID_BYTES)
    for attempt in itertools.count():
        id = _named("question", conversation, once, str(attempt))
        status = connection.scalar(select(questions.c.status).where(questions.c.id == id))
        if status is None:
            return id
        if status != "interrupted":
            raise AskedBefore(id)
    raise AssertionError


def _named(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[: 2 * ID_BYTES]
