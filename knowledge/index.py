"""The vector index: a Chroma collection that answers which stored vectors are nearest.

A cache of the catalogue and nothing more: only ids and vectors are in it, and it is checked rather than believed,
because Chroma 1.5.9 answers wrongly without an error when files of it are missing (a vanished HNSW folder: the count
is right, every query finds only the last record) and ends the whole process when they are cut short (a segmentation
fault in the HNSW code). So the files of the graph are sealed: their digest is kept by the caller and compared before
Chroma may read them. The only file that imports chromadb. Called by `store.py` and
`rebuild.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from knowledge.errors import IndexDamaged, StorageFull
from knowledge.types import Vectors

T = TypeVar("T")

COLLECTION = "passages"
EF_SEARCH = 300
"""Recall at 40 over 5,000 passages of technical documentation: 1.0; with Chroma's 100 0.99, in the same time."""
OPEN_SECONDS = 10.0
"""Opening a database that another process has locked hangs for minutes inside Chroma."""
SAME = 0.999
"""Cosine above which two vectors count as the same."""
HONEST = 0.5
"""Least share of canaries that must find themselves."""

Stored = Callable[[Sequence[str]], Mapping[str, Vectors]]
"""Looks up the catalogue's vectors by passage id; unknown ids are missing."""

Manifest = Mapping[str, str | int]
"""What the collection says about itself: `name`, `embedder`, `dimension`."""


class VectorIndex:
    """One Chroma collection in a folder of its own. Not thread-safe; the store holds a lock around it."""

    def __init__(self, client: Any, collection: Any) -> None:
        self._client = client
        self._collection = collection
        self._at_once: int = client.get_max_batch_size()

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> VectorIndex:
        """Make an empty index in a new folder.

        Raises:
            StorageFull, IndexDamaged: it could not be made.
        """

        def make() -> VectorIndex:
            folder.mkdir(parents=True)
            client = _client(folder)
            collection = client.create_collection(
                COLLECTION,
                metadata=dict(manifest),
                configuration={"hnsw": {"space": "cosine", "ef_search": EF_SEARCH}},
                embedding_function=None,
            )
            return cls(client, collection)

        return _in_time(make, folder)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, sealed: str) -> VectorIndex:
        """Open an index that must be the one described by `manifest`, its graph as it was when it was sealed.

        Raises:
            IndexDamaged: missing, corrupt, locked by another process, or another index than the catalogue's.
        """

        def find() -> VectorIndex:
            if not (folder / "chroma.sqlite3").is_file():
                raise IndexDamaged(f"{folder}: the vector index is missing.")
            if seal(folder) != sealed:
                raise IndexDamaged(f"{folder}: files of the vector index are not as they were left.")
            client = _client(folder)
            try:
                collection = client.get_collection(COLLECTION, embedding_function=None)
                found = dict(collection.metadata or {})
                if found != dict(manifest):
                    raise IndexDamaged(f"{folder}: holds another index ({found}) than the catalogue's ({manifest}).")
                return cls(client, collection)
            except BaseException:
                client.close()
                raise

        return _in_time(find, folder)

    def count(self) -> int:
        """How many vectors Chroma says it holds."""
        with _explained("count"):
            return int(self._collection.count())

    def put(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add vectors, replacing those of the same id."""
        with _explained("write"):
            for start in range(0, len(ids), self._at_once):
                end = start + self._at_once
                self._collection.upsert(ids=list(ids[start:end]), embeddings=vectors[start:end])

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors; unknown ids are passed over."""
        with _explained("delete"):
            for start in range(0, len(ids), self._at_once):
                self._collection.delete(ids=list(ids[start : start + self._at_once]))

    def nearest(self, queries: Vectors, limit: int) -> list[list[str]]:
        """Ids of the nearest vectors for each query, nearest first."""
        with _explained("query"):
            found = self._collection.query(query_embeddings=queries, n_results=limit, include=[])
            return [[str(passage_id) for passage_id in ids] for ids in found["ids"]]

    def verify(self, expected: int, canaries: Vectors, stored: Stored) -> None:
        """Check honesty: the count, and that queries by stored vectors find those very vectors.

        An approximate index may miss some on crowded data, a broken one misses nearly all.

        Args:
            expected: how many vectors the catalogue has.
            canaries: some of the catalogue's vectors, spread over all of it.
            stored: looks up the catalogue's vectors by passage id.

        Raises:
            IndexDamaged: says which check failed.
        """
        if (found := self.count()) != expected:
            raise IndexDamaged(f"the vector index holds {found} of {expected} passages.")
        if not expected:
            return
        best = [ids[0] if ids else "" for ids in self.nearest(canaries, 1)]
        vectors = stored(best)
        themselves = [
            passage_id in vectors and float(np.dot(vectors[passage_id], canary)) > SAME
            for passage_id, canary in zip(best, canaries, strict=True)
        ]
        if sum(themselves) < HONEST * len(themselves):
            raise IndexDamaged(f"the vector index finds {sum(themselves)} of {len(themselves)} passages by themselves.")

    def close(self) -> None:
        """Give the files back. Idempotent."""
        with _explained("close"):
            self._client.close()


def seal(folder: Path) -> str:
    """Digest of the graph's files; Chroma changes them only while it is written to."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*")):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _client(folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(path=str(folder), settings=Settings(anonymized_telemetry=False))


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Chroma's errors, and the panics of its Rust core (which are no `Exception`), as ours."""
    try:
        yield
    except (IndexDamaged, StorageFull):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = str(error) or type(error).__name__
        if "disk is full" in reason.lower() or "no space left" in reason.lower():
            raise StorageFull(f"vector index, {doing}: no room left on the disk. Free some.") from error
        raise IndexDamaged(f"vector index, {doing}: {reason}") from error


def _in_time(work: Callable[[], T], folder: Path) -> T:
    """Run `work` in a thread of its own and stop waiting for it after OPEN_SECONDS."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            with _explained("open"):
                outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="chroma-open", daemon=True)
    thread.start()
    thread.join(OPEN_SECONDS)
    if not outcome:
        raise IndexDamaged(f"{folder}: did not open within {OPEN_SECONDS:g} s; another process may hold it.")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
