"""What is known, as lists for people: sources, documents, headings. Reads only. Called by `store.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from knowledge.tables import documents, passages
from knowledge.types import SourceSummary


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """One document, as a page lists it."""

    source: str
    path: str
    title: str
    uri: str
    passages: int
    updated_at: str
    """ISO 8601, UTC."""


def sources(connection: Connection) -> tuple[SourceSummary, ...]:
    """Every source, by name."""
    each = select(
        documents.c.source,
        func.count(func.distinct(documents.c.number)),
        func.count(passages.c.number),
        func.max(documents.c.updated_at),
    ).outerjoin(passages, passages.c.document == documents.c.number)
    rows = connection.execute(each.group_by(documents.c.source).order_by(documents.c.source))
    return tuple(SourceSummary(*row) for row in rows)


def list_documents(connection: Connection, source: str | None = None) -> tuple[DocumentSummary, ...]:
    """Every document, of one source or of all, by source and path."""
    d = documents.c
    query = select(d.source, d.path, d.title, d.uri, func.count(passages.c.number), d.updated_at)
    query = query.outerjoin(passages, passages.c.document == d.number).group_by(d.number)
    if source is not None:
        query = query.where(d.source == source)
    return tuple(DocumentSummary(*row) for row in connection.execute(query.order_by(d.source, d.path)))


def headings(connection: Connection, keep: Callable[[str], bool] | None = None) -> tuple[tuple[str, str, str], ...]:
    """Distinct (document, title, heading path), in reading order; `keep` chooses sources."""
    rows = connection.execute(
        select(documents.c.path, documents.c.title, passages.c.heading, documents.c.source)
        .join(passages, passages.c.document == documents.c.number)
        .order_by(documents.c.source, documents.c.path, passages.c.position)
    )
    kept = ((path, title, heading) for path, title, heading, source in rows if keep is None or keep(source))
    return tuple(dict.fromkeys(kept))
