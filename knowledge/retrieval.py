"""Finding passages for a question: nearest vectors and keywords, fused by rank.

Reciprocal rank fusion with k = 60 (Cormack, Clarke and Buettcher, SIGIR 2009) over one dense and one keyword list for
each wording of the question. Nothing is filtered or judged here. Called by `store.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection

from knowledge import catalog, keywords
from knowledge.text import clean
from knowledge.types import Hit, Vectors

FUSION_K = 60
CANDIDATES = 40
"""Length of each list before fusion."""
CANDIDATES_KEPT = 160
"""As long where some sources are left out afterwards."""
WORDINGS_MAX = 6
QUERY_CHARACTERS = 4000
"""A wording is cut here: no embedder reads further."""

Keep = Callable[[str], bool]
"""Whether passages of a source may be found."""
Nearest = Callable[[Connection, Vectors, int], list[list[int]]]
"""Looks up, for each query vector, the numbers of the nearest passages, nearest first."""


@dataclass(slots=True)
class _Found:
    score: float = 0.0
    dense_rank: int | None = None
    keyword_rank: int | None = None
    bm25: float | None = None


@dataclass(slots=True)
class _Fusion:
    found: dict[int, _Found] = field(default_factory=dict)

    def add_dense(self, numbers: Sequence[int]) -> None:
        for rank, number in enumerate(numbers):
            hit = self._rank(number, rank)
            hit.dense_rank = rank if hit.dense_rank is None else min(rank, hit.dense_rank)

    def add_keywords(self, scored: Sequence[tuple[int, float]]) -> None:
        for rank, (number, bm25) in enumerate(scored):
            hit = self._rank(number, rank)
            hit.keyword_rank = rank if hit.keyword_rank is None else min(rank, hit.keyword_rank)
            hit.bm25 = bm25 if hit.bm25 is None else max(bm25, hit.bm25)

    def _rank(self, number: int, rank: int) -> _Found:
        hit = self.found.setdefault(number, _Found())
        hit.score += 1.0 / (FUSION_K + rank + 1)
        return hit

    def best(self, k: int) -> list[tuple[int, _Found]]:
        return sorted(self.found.items(), key=lambda item: (-item[1].score, item[0]))[:k]


def wordings(queries: Sequence[str]) -> list[str]:
    """The queries as they are searched: cleaned, cut, without empty ones and repetitions."""
    cleaned = (clean(query[:QUERY_CHARACTERS]).strip() for query in queries)
    return list(dict.fromkeys(query for query in cleaned if query))[:WORDINGS_MAX]


def search(
    connection: Connection, queries: Sequence[str], vectors: Vectors, *, nearest: Nearest, embedder: str, k: int,
    keep: Keep | None = None,
) -> tuple[Hit, ...]:  # fmt: skip
    """The `k` best passages, best first.

    Args:
        connection: inside one transaction, so that both ways see the same catalogue.
        queries: wordings of one question; `similarity` belongs to the first.
        vectors: their unit vectors.
        nearest: the dense way.
        embedder: fingerprint of what made the vectors.
        k: how many.
        keep: of which sources; None is all. Longer lists are fused then, so that the others crowd nobody out.
    """
    candidates = CANDIDATES if keep is None else CANDIDATES_KEPT
    fusion = _Fusion()
    for numbers in nearest(connection, vectors, candidates):
        fusion.add_dense(numbers)
    for query in queries:
        fusion.add_keywords(keywords.find(connection, query, candidates))
    best = fusion.best(k if keep is None else len(fusion.found))
    passages = catalog.passages_by_number(connection, [number for number, _ in best])
    if keep is not None:
        best = [(n, found) for n, found in best if n in passages and keep(passages[n].source)][:k]
    numbers = [number for number, _ in best]
    similarities = _similarities(connection, numbers, vectors[0], embedder)
    return tuple(
        Hit(
            passage=passages[number],
            score=found.score,
            similarity=similarities.get(number, 0.0),
            dense_rank=found.dense_rank,
            keyword_rank=found.keyword_rank,
            bm25=found.bm25,
        )
        for number, found in best
        if number in passages
    )


def _similarities(connection: Connection, numbers: Sequence[int], query: Vectors, embedder: str) -> dict[int, float]:
    blobs = catalog.vectors_of(connection, numbers, embedder)
    if not blobs:
        return {}
    cosines = catalog.matrix(list(blobs.values()), len(query)) @ query
    return dict(zip(blobs, np.clip(cosines, -1.0, 1.0).tolist(), strict=True))
