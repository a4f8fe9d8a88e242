"""The keyword table on PostgreSQL: words as `tsvector`, found by a GIN index, ranked by BM25 as SQLite's FTS5 ranks.

PostgreSQL's own ranks know nothing of how rare a word is, and confidence is calibrated on BM25. So the formula of FTS5
is computed over its parts: how often a word stands in a passage is `ts_rank_cd` of that word alone (cover density
counts each single occurrence by its weight), how many passages have it comes from the index. The stemmer is Porter's,
without stop words, as in FTS5. Called by `keywords.py` alone.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

K1, B = 1.2, 0.75
"""BM25's constants in FTS5 (https://sqlite.org/fts5.html, 5.1.1)."""
IDF_LEAST = 1e-6
"""Of a word that more than half of all passages have; as in FTS5."""
CANDIDATES = 2000
"""Passages that are scored, about: rarer words choose them, the commoner ones only count."""
_WORD = re.compile(r"[^\W_]+")
_ACCENTS = re.compile("[\u0300-\u036f]")

_ADD = text(
    "INSERT INTO passage_words (number, size, words) VALUES (:number, :size, "
    "setweight(to_tsvector('rungs_words', :title), 'A') || to_tsvector('rungs_words', :text))"
)
_ADDED = text("UPDATE passage_words_total SET passages = passages + :passages, size = size + :size")
_REMOVE = text(
    "WITH gone AS (DELETE FROM passage_words WHERE number = ANY(:numbers) RETURNING size), "
    "total AS (SELECT count(*) AS passages, coalesce(sum(size), 0) AS size FROM gone) "
    "UPDATE passage_words_total AS t SET passages = t.passages - total.passages, size = t.size - total.size FROM total"
)
_COUNT = text(
    "SELECT word, (SELECT count(*) FROM passage_words WHERE words @@ CAST(quote_literal(word) AS tsquery)) AS passages "
    "FROM unnest(tsvector_to_array(to_tsvector('rungs_words', :terms))) AS word"
)
_FIND = text(
    "WITH asked AS (SELECT * FROM unnest(CAST(:words AS text[]), CAST(:idf AS float8[])) AS a(word, idf)) "
    "SELECT p.number, sum(a.idf * f.often * (:k1 + 1) / (f.often + p.length)) AS score "
    "FROM (SELECT number, words, :k1 * (1 - :b + :b * size / :average) AS length FROM passage_words "
    "      WHERE words @@ CAST(:chosen AS tsquery) OFFSET 0) AS p "
    "CROSS JOIN asked AS a CROSS JOIN LATERAL "
    "(SELECT :weight * ts_rank_cd(CAST(:weights AS float4[]), p.words, CAST(quote_literal(a.word) AS tsquery))) "
    "AS f(often) WHERE f.often > 0 GROUP BY p.number ORDER BY score DESC, p.number LIMIT :limit"
)


def add(connection: Connection, rows: Iterable[tuple[int, str, str]]) -> None:
    """Make passages searchable: rows of (passage number, title with heading, text)."""
    parameters, total = [], 0
    for number, title, body in rows:
        heads, words = _words(title), _words(body)
        size = len(heads) + len(words)
        total += size
        parameters.append({"number": number, "size": size, "title": " ".join(heads), "text": " ".join(words)})
    if parameters:
        connection.execute(_ADD, parameters)
        connection.execute(_ADDED, {"passages": len(parameters), "size": total})


def remove(connection: Connection, numbers: Sequence[int]) -> None:
    """Forget passages by number."""
    connection.execute(_REMOVE, {"numbers": list(numbers)})


def clear(connection: Connection) -> None:
    """Forget every passage."""
    connection.execute(text("DELETE FROM passage_words"))
    connection.execute(text("UPDATE passage_words_total SET passages = 0, size = 0"))


def find(connection: Connection, terms: Sequence[str], limit: int, title_weight: float) -> list[tuple[int, float]]:
    """The best passages for any of the terms: (passage number, BM25 score), larger is better."""
    words = " ".join(word for term in terms for word in _words(term))
    counts = sorted((count, word) for word, count in connection.execute(_COUNT, {"terms": words}) if count)
    if not counts:
        return []
    passages, size = connection.execute(text("SELECT passages, size FROM passage_words_total")).one()
    chosen, reached = [], 0
    for count, word in counts:  # the rarest first
        if reached >= max(CANDIDATES, limit):
            break
        chosen.append(word)
        reached += count
    values = {
        "words": [word for _, word in counts],
        "idf": [max(math.log((passages - count + 0.5) / (count + 0.5)), IDF_LEAST) for count, _ in counts],
        "chosen": " | ".join(f"'{word}'" for word in chosen),
        "average": max(size / max(passages, 1), 1.0),
        "weight": title_weight,
        "weights": [1 / title_weight] * 3 + [1.0],  # of text, two unused kinds, title; none may be above 1
        "k1": K1,
        "b": B,
        "limit": limit,
    }
    return [(int(number), float(score)) for number, score in connection.execute(_FIND, values)]


def _words(value: str) -> list[str]:
    """Letters and digits in runs, small, without accents: what SQLite's `unicode61` makes of it, near enough."""
    folded = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", value.lower())))
    return _WORD.findall(folded)
