"""The tables of the knowledge room, as SQLAlchemy sees them. Changed together with a revision in `migrations/`.

The keyword table is each database's own (FTS5, tsvector) and stands only in the migrations. Called by
`catalog.py` and Alembic.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

METADATA = MetaData()

documents = Table(
    "documents",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    UniqueConstraint("source", "path"),
)
passages = Table(
    "passages",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("document", Integer, ForeignKey("documents.number", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("heading", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("page", Integer),
    UniqueConstraint("document", "position"),
)
passage_vectors = Table(
    "passage_vectors",
    METADATA,
    Column("passage", Integer, ForeignKey("passages.number", ondelete="CASCADE"), primary_key=True),
    Column("embedder", Text, primary_key=True),
    Column("vector", LargeBinary, nullable=False),
    Column("sentences", LargeBinary),
)
index_backlog = Table(
    "index_backlog",
    METADATA,
    Column("passage_id", Text, primary_key=True),
    Column("generation", Integer, nullable=False, server_default="0"),
)
knowledge_meta = Table(
    "knowledge_meta", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)
