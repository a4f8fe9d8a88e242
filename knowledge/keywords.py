"""Keyword search over passages: BM25, Porter stemming, titles and headings weighing double.

By SQLite's FTS5, or by PostgreSQL (`keywords_postgres.py`) with the same ranking. Kept in the catalogue's own
transactions, so it never disagrees with it. Every term is quoted: a question is data, never search syntax. Called by
`catalog.py` and `retrieval.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from knowledge import keywords_postgres
from knowledge.words import STOPWORDS

TERMS_MAX = 48
"""Distinct terms of a question that are searched; a longer one is cut (the cost grows with each)."""
TITLE_WEIGHT = 2.0
_TERM = re.compile(r"[^\s\x00-/:-@\[-`{-\x7f]+")
"""Runs without ASCII punctuation or spaces; the tokenizer of the table splits further where it must."""

_ADD = text("INSERT INTO passage_words(rowid, title, text) VALUES (:number, :title, :text)")
_REMOVE = text("DELETE FROM passage_words WHERE rowid = :number")
_FIND = text(
    "SELECT rowid, -bm25(passage_words, :weight, 1.0) AS score FROM passage_words "
    "WHERE passage_words MATCH :match ORDER BY score DESC, rowid LIMIT :limit"
)


def add(connection: Connection, rows: Iterable[tuple[int, str, str]]) -> None:
    """Make passages searchable: rows of (passage number, title with heading, text)."""
    if _on_server(connection):
        keywords_postgres.add(connection, rows)
        return
    parameters = [{"number": number, "title": title, "text": body} for number, title, body in rows]
    if parameters:
        connection.execute(_ADD, parameters)


def remove(connection: Connection, numbers: Sequence[int]) -> None:
    """Forget passages by number."""
    if numbers and _on_server(connection):
        keywords_postgres.remove(connection, numbers)
    elif numbers:
        connection.execute(_REMOVE, [{"number": number} for number in numbers])


def clear(connection: Connection) -> None:
    """Forget every passage."""
    if _on_server(connection):
        keywords_postgres.clear(connection)
    else:
        connection.execute(text("DELETE FROM passage_words"))


def find(connection: Connection, query: str, limit: int) -> list[tuple[int, float]]:
    """The best passages for any of the query's terms: (passage number, BM25 score), larger is better."""
    terms = _terms(query)
    if not terms:
        return []
    if _on_server(connection):
        return keywords_postgres.find(connection, terms, limit, TITLE_WEIGHT)
    match = " OR ".join(f'"{term}"' for term in terms)
    rows = connection.execute(_FIND, {"match": match, "weight": TITLE_WEIGHT, "limit": limit})
    return [(int(number), float(score)) for number, score in rows]


def _terms(query: str) -> list[str]:
    terms = dict.fromkeys(term.lower() for term in _TERM.findall(query) if any(map(str.isalnum, term)))
    telling = [term for term in terms if term not in STOPWORDS] or list(terms)
    return telling[:TERMS_MAX]


def _on_server(connection: Connection) -> bool:
    return connection.dialect.name != "sqlite"
