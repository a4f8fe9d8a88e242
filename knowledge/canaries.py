"""Is the vector index honest? Its count against the catalogue's, and queries whose answers are known.

Some passages, spread over the whole catalogue, are searched by their own stored vectors. An approximate index may miss
some of them on crowded data; a broken one misses nearly all. Takes milliseconds. Called by `dense.py`.
"""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from knowledge import catalog
from knowledge.errors import IndexDamaged
from knowledge.index import VectorIndex
from knowledge.types import Embedder

CANARIES = 24
SAME = 0.999
"""Cosine above which two vectors count as the same: texts that occur twice may stand in for each other."""
HONEST = 0.5
"""Least share of canaries that must find themselves."""


def check(connection: Connection, index: VectorIndex, embedder: Embedder, upto: int) -> None:
    """Compare the index with the catalogue.

    Args:
        connection: inside one reading transaction.
        index: what is to be believed or not.
        embedder: whose vectors are in it.
        upto: the generation that the index was brought up to; what another process changed after it may be missing.

    Raises:
        IndexDamaged: says which check failed.
    """
    unseen = catalog.backlog(connection, upto)
    numbers = catalog.all_numbers(connection)
    if abs((held := index.count()) - len(numbers)) > len(unseen):
        raise IndexDamaged(f"The vector index holds {held} of {len(numbers)} passages.")
    fresh = set(catalog.numbers_of(connection, sorted(unseen)).values())
    numbers = [number for number in numbers if number not in fresh]
    if not numbers:
        return
    chosen = sorted({numbers[i] for i in np.linspace(0, len(numbers) - 1, CANARIES).astype(int)})
    stored = catalog.vectors_of(connection, chosen, embedder.fingerprint)
    queries = catalog.matrix(list(stored.values()), embedder.dimension)
    nearest = [ids[0] if ids else "" for ids in index.nearest(queries, 1)]
    found = catalog.numbers_of(connection, nearest)
    vectors = catalog.vectors_of(connection, list(found.values()), embedder.fingerprint)
    themselves = 0
    for passage_id, query in zip(nearest, queries, strict=True):
        vector = vectors.get(found.get(passage_id, -1))
        themselves += vector is not None and float(catalog.matrix([vector], len(query))[0] @ query) > SAME
    if themselves < HONEST * len(queries):
        raise IndexDamaged(f"The vector index finds {themselves} of {len(queries)} passages by their own vectors.")
