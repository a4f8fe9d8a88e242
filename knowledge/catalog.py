"""The catalogue: documents, passages and their vectors in SQL. It is the truth; the index and the keywords follow it.

Functions over an open connection, so that the caller decides what is one transaction. Keywords are kept in the same
one. Chroma is not known here: a change only leaves the passage ids in the backlog. Called by `store.py`,
`dense.py` and `retrieval.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Row, Select, delete, func, insert, select
from sqlalchemy.sql.elements import KeyedColumnElement

from knowledge import keywords
from knowledge.parts import packed, unpacked
from knowledge.tables import documents, index_backlog, knowledge_meta, passage_vectors, passages
from knowledge.text import clean
from knowledge.types import Passage, Vectors

T = TypeVar("T")
AnyRow = Row[*tuple[Any, ...]]

AT_ONCE = 500
"""Values per IN (...), well below every database's limit."""
_PASSAGE = select(
    passages.c.number,
    passages.c.id,
    documents.c.source,
    documents.c.path,
    documents.c.title,
    passages.c.heading,
    passages.c.text,
    passages.c.position,
    passages.c.page,
    documents.c.uri,
).join(documents, passages.c.document == documents.c.number)


def blob(vector: Vectors) -> bytes:
    """A vector as it is stored: little-endian float32."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def matrix(blobs: Sequence[bytes], dimension: int) -> Vectors:
    """Stored vectors as rows, shape (n, dimension)."""
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dimension).astype(np.float32, copy=False)


def meta(connection: Connection) -> dict[str, str]:
    """All of the small facts about the whole catalogue: `embedder`, `index`, `generation`."""
    return {name: value for name, value in connection.execute(select(knowledge_meta))}


def set_meta(connection: Connection, **values: str) -> None:
    """Remember facts about the whole catalogue."""
    connection.execute(delete(knowledge_meta).where(knowledge_meta.c.name.in_(values)))
    connection.execute(insert(knowledge_meta), [{"name": name, "value": value} for name, value in values.items()])


def detach(connection: Connection) -> None:
    """Of a copy: the index and the collections on a server are the original's, and this one makes its own."""
    connection.execute(delete(knowledge_meta).where(knowledge_meta.c.name == "installation"))
    if meta(connection).get("index"):
        set_meta(connection, index="of-the-original", index_seal="")


def known(connection: Connection, source: str) -> dict[str, str]:
    """Document path to fingerprint, for one source."""
    rows = connection.execute(select(documents.c.path, documents.c.fingerprint).where(documents.c.source == source))
    return {path: fingerprint for path, fingerprint in rows}


def put(
    connection: Connection,
    document: Mapping[str, str],
    parts: Sequence[Passage],
    vectors: Vectors,
    sentences: Sequence[Vectors],
    embedder: str,
) -> set[str]:
    """Add a document or replace it whole; returns the passage ids that the index has to look at.

    Args:
        connection: inside the writing transaction.
        document: `source`, `path`, `fingerprint`, `title` and `uri`.
        parts: its passages, in order.
        vectors: one row for each of them.
        sentences: for each of them, the vectors of what can be quoted of it.
        embedder: fingerprint of what made the vectors.
    """
    before = _vectors_of_document(connection, document["source"], document["path"], embedder)
    remove(connection, document["source"], [document["path"]])
    row = {**document, "updated_at": datetime.now(UTC).isoformat(timespec="seconds")}
    number = connection.execute(insert(documents).values(row)).inserted_primary_key[0]  # type: ignore[index]
    if parts:
        rows = [
            {
                "id": part.id,
                "document": number,
                "position": part.position,
                "heading": clean(part.heading),
                "text": clean(part.text),
                "page": part.page,
            }
            for part in parts
        ]
        connection.execute(insert(passages), rows)
        added = connection.execute(select(passages.c.id, passages.c.number).where(passages.c.document == number))
        numbers = {passage_id: n for passage_id, n in added}
        stored = zip(parts, vectors, sentences, strict=True)
        connection.execute(
            insert(passage_vectors),
            [
                {"passage": numbers[part.id], "embedder": embedder, "vector": blob(row), "sentences": packed(quotes)}
                for part, row, quotes in stored
            ],
        )
        title = document["title"]
        keywords.add(connection, ((numbers[r["id"]], f"{title} {r['heading']}", r["text"]) for r in rows))
    after = {part.id: blob(row) for part, row in zip(parts, vectors, strict=True)}
    return {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}


def _vectors_of_document(connection: Connection, source: str, path: str, embedder: str) -> dict[str, bytes]:
    query = (
        select(passages.c.id, passage_vectors.c.vector)
        .join(documents, passages.c.document == documents.c.number)
        .join(passage_vectors, passage_vectors.c.passage == passages.c.number)
        .where(documents.c.source == source, documents.c.path == path, passage_vectors.c.embedder == embedder)
    )
    return {passage_id: vector for passage_id, vector in connection.execute(query)}


def remove(connection: Connection, source: str, paths: Sequence[str] | None = None) -> tuple[int, set[str]]:
    """Remove documents with their passages and keywords; the whole source where no paths are given.

    Returns:
        How many documents went, and the passage ids that the index has to look at.
    """
    chosen = select(documents.c.number).where(documents.c.source == source)
    if paths is None:
        numbers = list(connection.scalars(chosen))
    else:
        numbers = [n for some in batches(paths) for n in connection.scalars(chosen.where(documents.c.path.in_(some)))]
    touched: set[str] = set()
    for some in batches(numbers):
        rows = connection.execute(select(passages.c.number, passages.c.id).where(passages.c.document.in_(some))).all()
        keywords.remove(connection, [row.number for row in rows])
        touched |= {row.id for row in rows}
        connection.execute(delete(documents).where(documents.c.number.in_(some)))
    return len(numbers), touched


def changed(connection: Connection, touched: Iterable[str]) -> int:
    """Note, in the transaction that changed them, which passages the index has not seen yet.

    Returns:
        The catalogue's new generation: every change has one, in the order in which changes become visible.
    """
    fresh = generation(connection) + 1
    set_meta(connection, generation=str(fresh))
    for some in batches(sorted(touched)):
        connection.execute(delete(index_backlog).where(index_backlog.c.passage_id.in_(some)))
        rows = [{"passage_id": passage_id, "generation": fresh} for passage_id in some]
        connection.execute(insert(index_backlog), rows)
    return fresh


def generation(connection: Connection) -> int:
    """Of the latest change."""
    query = select(knowledge_meta.c.value).where(knowledge_meta.c.name == "generation")
    return int(connection.scalar(query) or 0)


def backlog(connection: Connection, after: int = -1) -> set[str]:
    """Passage ids that changed since the index was last brought up to date, and after a generation."""
    return set(connection.scalars(select(index_backlog.c.passage_id).where(index_backlog.c.generation > after)))


def clear_backlog(connection: Connection, upto: int) -> None:
    """Note that the index has seen every change of a generation and of those before it."""
    connection.execute(delete(index_backlog).where(index_backlog.c.generation <= upto))


def count(connection: Connection) -> int:
    """How many passages there are."""
    return connection.scalar(select(func.count()).select_from(passages)) or 0


def all_numbers(connection: Connection) -> list[int]:
    """Every passage's number, in order."""
    return list(connection.scalars(select(passages.c.number).order_by(passages.c.number)))


def contents(connection: Connection) -> list[tuple[str, str]]:
    """(path, fingerprint) of every document, in order, whatever its source is called."""
    rows = connection.execute(select(documents.c.path, documents.c.fingerprint))
    return sorted((path, fingerprint) for path, fingerprint in rows)


def passage_by_id(connection: Connection, passage_id: str) -> Passage | None:
    """One passage, or None where it is no longer (or never was) known."""
    row = connection.execute(_PASSAGE.where(passages.c.id == passage_id)).first()
    return None if row is None else _passage(row)


def passages_in_order(connection: Connection, source: str | None, path: str | None) -> list[Passage]:
    """Passages in reading order: of one source, of one of its documents, or all."""
    query = _PASSAGE.order_by(documents.c.source, documents.c.path, passages.c.position)
    if source is not None:
        query = query.where(documents.c.source == source)
    if path is not None:
        query = query.where(documents.c.path == path)
    return [_passage(row) for row in connection.execute(query)]


def passages_by_number(connection: Connection, numbers: Sequence[int]) -> dict[int, Passage]:
    """Passages by number; those that are gone are missing."""
    return {row.number: _passage(row) for row in _chosen(connection, _PASSAGE, passages.c.number, numbers)}


def numbers_of(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Passage id to number; ids that are gone are missing."""
    query = select(passages.c.id, passages.c.number)
    return {row.id: row.number for row in _chosen(connection, query, passages.c.id, ids)}


def vectors_of(connection: Connection, numbers: Sequence[int], embedder: str) -> dict[int, bytes]:
    """Stored vectors by passage number."""
    v = passage_vectors.c
    query = select(v.passage, v.vector).where(v.embedder == embedder)
    return {row.passage: row.vector for row in _chosen(connection, query, v.passage, numbers)}


def sentence_vectors(connection: Connection, ids: Sequence[str], embedder: str, dimension: int) -> dict[str, Vectors]:
    """Vectors of what can be quoted of passages, by passage id; those that have none are missing."""
    query = select(passages.c.id, passage_vectors.c.sentences).join(
        passage_vectors, passage_vectors.c.passage == passages.c.number
    )
    query = query.where(passage_vectors.c.embedder == embedder, passage_vectors.c.sentences.is_not(None))
    return {row.id: unpacked(row.sentences, dimension) for row in _chosen(connection, query, passages.c.id, ids)}


def unembedded(connection: Connection, embedder: str, limit: int) -> list[tuple[int, Passage]]:
    """Some passages that have no vector of this embedder yet, by number."""
    has = select(passage_vectors.c.passage).where(passage_vectors.c.embedder == embedder)
    rows = connection.execute(_PASSAGE.where(passages.c.number.not_in(has)).order_by(passages.c.number).limit(limit))
    return [(row.number, _passage(row)) for row in rows]


def add_vectors(
    connection: Connection, numbers: Sequence[int], vectors: Vectors, sentences: Sequence[Vectors], embedder: str
) -> None:
    """Store vectors beside those of another embedder; passages that went meanwhile are left out."""
    there = set(connection.scalars(select(passages.c.number).where(passages.c.number.in_(numbers))))
    rows = [
        {"passage": number, "embedder": embedder, "vector": blob(row), "sentences": packed(quotes)}
        for number, row, quotes in zip(numbers, vectors, sentences, strict=True)
        if number in there
    ]
    if rows:
        connection.execute(insert(passage_vectors), rows)


def keep_vectors_of(connection: Connection, embedder: str) -> None:
    """Drop the vectors of every other embedder."""
    connection.execute(delete(passage_vectors).where(passage_vectors.c.embedder != embedder))


def vectors_after(connection: Connection, number: int, embedder: str, limit: int | None = None) -> Sequence[AnyRow]:
    """Rows of (passage number, passage id, vector) in order, from the one after `number` on."""
    query = select(passages.c.number, passages.c.id, passage_vectors.c.vector).join(
        passage_vectors, passage_vectors.c.passage == passages.c.number
    )
    query = query.where(passage_vectors.c.embedder == embedder, passages.c.number > number)
    return connection.execute(query.order_by(passages.c.number).limit(limit)).all()


def rebuild_keywords(connection: Connection) -> None:
    """Make the keyword table anew from the passages."""
    keywords.clear(connection)
    last = -1
    while rows := connection.execute(
        _PASSAGE.where(passages.c.number > last).order_by(passages.c.number).limit(AT_ONCE)
    ).all():
        keywords.add(connection, ((row.number, f"{row.title} {row.heading}", row.text) for row in rows))
        last = rows[-1].number


def batches(values: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _passage(row: AnyRow) -> Passage:
    return Passage(
        id=row.id,
        source=row.source,
        document=row.path,
        title=row.title,
        heading=row.heading,
        text=row.text,
        position=row.position,
        page=row.page,
        uri=row.uri,
    )


def _chosen(
    connection: Connection, query: Select[*tuple[Any, ...]], column: KeyedColumnElement[Any], values: Sequence[Any]
) -> Iterator[AnyRow]:
    for some in batches(values):
        yield from connection.execute(query.where(column.in_(some)))
