"""Exact nearest neighbours over the catalogue's stored vectors, in memory: what serves while the index cannot.

Nothing is approximated and nothing is kept on disk. Called by `dense.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from knowledge import catalog
from knowledge.types import Embedder, Vectors


class ExactSearch:
    """All vectors of one embedder, read when first needed. Not thread-safe; the store holds a lock around it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._numbers: NDArray[np.int64] | None = None
        self._vectors: Vectors = np.zeros((0, embedder.dimension), dtype=np.float32)

    def forget(self) -> None:
        """Read the vectors again before the next search: the catalogue changed."""
        self._numbers = None
        self._vectors = self._vectors[:0].copy()

    def nearest(self, connection: Connection, queries: Vectors, limit: int) -> list[list[int]]:
        """Numbers of the nearest passages for each query, nearest first."""
        if self._numbers is None:
            rows = catalog.vectors_after(connection, -1, self._embedder.fingerprint)
            self._numbers = np.array([row.number for row in rows], dtype=np.int64)
            self._vectors = catalog.matrix([row.vector for row in rows], self._embedder.dimension)
        similarities = queries @ self._vectors.T
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :limit]
        return [self._numbers[row].tolist() for row in order]
