"""The tables of the assistant's room, as SQLAlchemy sees them. Changed together with a revision in `migrations/`.

Columns hold what one filters and counts by; `record` holds the whole trace as JSON. Rows are ordered by `number`,
never by the clock. Called by `traces.py`, `desk.py`, `corrections.py` and Alembic.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

METADATA = MetaData()

conversations = Table(
    "conversations",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("visitor", Text, nullable=False),
    Column("surface", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("site", Text, nullable=False, server_default=""),
    Index("conversations_by_visitor", "visitor"),
)
questions = Table(
    "questions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("text", Text, nullable=False),
    Column("surface", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("superseded", Boolean, nullable=False),
    Column("level", Text),
    Column("outcome", Text),
    Column("confidence", Float),
    Column("seconds", Float),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("reason", Text),
    Column("versions", Text, nullable=False),
    Column("answer", Text),
    Column("record", Text),
    Column("started_at", Text, nullable=False),
    Index("questions_by_conversation", "conversation"),
    Index("questions_by_level", "level", "outcome"),
)
attempts = Table(
    "attempts",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("question", Text, ForeignKey("questions.id", ondelete="CASCADE"), nullable=False),
    Column("level", Text, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("skipped_because", Text),
    Column("failure", Text),
    Column("confidence", Float),
    Column("threshold", Float),
    Column("seconds", Float),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Index("attempts_by_question", "question"),
)
feedback = Table(
    "feedback",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("question", Text, ForeignKey("questions.id", ondelete="CASCADE"), nullable=False),
    Column("value", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("given_at", Text, nullable=False),
    Index("feedback_by_question", "question"),
)
handoffs = Table(
    "handoffs",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default="asked_for_person"),
    Column("note", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("agent", Text),
    Column("taken_at", Text),
    Column("resolved_at", Text),
    Index("handoffs_by_state", "state"),
    Index("handoffs_by_conversation", "conversation"),
)
messages = Table(
    "messages",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("after", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("draft", Text, ForeignKey("questions.id", ondelete="SET NULL")),
    Column("once", Text, nullable=False),
    Column("rating", Integer, nullable=False, server_default="0"),
    Column("rating_reason", Text, nullable=False, server_default=""),
    Column("made_at", Text, nullable=False),
    UniqueConstraint("conversation", "once", name="messages_once"),
    Index("messages_by_conversation", "conversation"),
)
presence = Table(
    "presence",
    METADATA,
    Column("agent", Text, primary_key=True),
    Column("conversation", Text, nullable=False),
    Column("seen", Float, nullable=False),
)
corrections = Table(
    "corrections",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("question", Text, ForeignKey("questions.id", ondelete="CASCADE"), nullable=False),
    Column("draft", Text, nullable=False),
    Column("correction", Text, nullable=False),
    Column("distance", Float, nullable=False),
    Column("source", Text, nullable=False),
    Column("consent", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("reviewed_by", Text),
    Column("reviewed_at", Text),
    Index("corrections_by_question", "question"),
    Index("corrections_by_state", "state"),
)
gap_decisions = Table(
    "gap_decisions",
    METADATA,
    Column("question", Text, ForeignKey("questions.id", ondelete="CASCADE"), primary_key=True),
    Column("decision", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", Text, nullable=False),
)
