"""The vector index: a Chroma collection that answers which stored vectors are nearest.

A cache of the catalogue and nothing more: only ids and vectors are in it, and it is checked rather than believed,
because Chroma 1.5.9 answers wrongly without an error when files of it are missing (a vanished HNSW folder: the count
is right, every query finds only the last record) and ends the whole process when they are cut short (a segmentation
fault in the HNSW code). So the files of the graph are sealed: their digest is kept by the caller and compared before
Chroma may read them. Here: a collection, wherever it is, and those in a folder of the home; those on a server are in
`index_server.py`. Only these two import chromadb. Called by `dense.py`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from knowledge.errors import IndexDamaged, IndexUnreachable, StorageFull
from knowledge.types import Vectors

COLLECTION = "passages"
GRAPH = {"space": "cosine", "ef_construction": 200, "ef_search": 300, "max_neighbors": 32}
"""Wider than Chroma's defaults (100, 100, 16). Vectors that find themselves: 0.94 instead of 0.82 of 1,500 very similar
ones; recall at 40 over 5,000 passages of technical documentation 1.0 instead of 0.99. Costs a third more on insertion,
a fiftieth of what embedding them takes."""
LOCK_SECONDS = 2.0
"""How long another process may hold Chroma's database before it counts as locked."""
Manifest = Mapping[str, str | int]
"""What the collection says about itself: `name`, `embedder`, `dimension`."""
_SUBFOLDER = re.compile(r"index-[0-9a-f]{8}")


class VectorIndex:
    """One Chroma collection. Not thread-safe; the store holds a lock around it."""

    def __init__(self, collection: Any, at_once: int, close: Callable[[], None]) -> None:
        """Take over a collection.

        Args:
            collection: Chroma's.
            at_once: how many records it takes in one call.
            close: gives back what it needs open.
        """
        self._collection = collection
        self._at_once = at_once
        self._close = close

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> VectorIndex:
        """Make an empty index in a new folder.

        Raises:
            StorageFull, IndexDamaged: it could not be made.
        """
        with explained("create"):
            folder.mkdir(parents=True)
            client = _client(folder)
            return cls(make_collection(client, COLLECTION, manifest), client.get_max_batch_size(), client.close)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, sealed: str) -> VectorIndex:
        """Open an index that must be the one described by `manifest`, its graph as it was when it was sealed.

        Raises:
            IndexDamaged: missing, corrupt, locked by another process, or another index than the catalogue's.
        """
        with explained("open"):
            _check_lock(folder / "chroma.sqlite3")
            if seal(folder) != sealed:
                raise IndexDamaged(f"{folder}: files of the vector index are not as they were left.")
            client = _client(folder)
            try:
                found = find_collection(client, COLLECTION, manifest)
                return cls(found, client.get_max_batch_size(), client.close)
            except BaseException:
                client.close()
                raise

    def count(self) -> int:
        """How many vectors Chroma says it holds."""
        with explained("count"):
            return int(self._collection.count())

    def put(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add vectors, replacing those of the same id."""
        with explained("write"):
            for start in range(0, len(ids), self._at_once):
                end = start + self._at_once
                self._collection.upsert(ids=list(ids[start:end]), embeddings=vectors[start:end])

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors; unknown ids are passed over."""
        with explained("delete"):
            for start in range(0, len(ids), self._at_once):
                self._collection.delete(ids=list(ids[start : start + self._at_once]))

    def nearest(self, queries: Vectors, limit: int) -> list[list[str]]:
        """Ids of the nearest vectors for each query, nearest first."""
        with explained("query"):
            found = self._collection.query(query_embeddings=queries, n_results=limit, include=[])
            return [[str(passage_id) for passage_id in ids] for ids in found["ids"]]

    def close(self) -> None:
        """Give the files back. Idempotent."""
        with explained("close"):
            self._close()


class IndexFolder:
    """Indexes in a folder of the home, each in a subfolder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_name(self) -> str:
        """A name that no index has yet."""
        return f"index-{secrets.token_hex(4)}"

    def create(self, name: str, manifest: Manifest) -> VectorIndex:
        """Make an empty index.

        Raises:
            StorageFull, IndexDamaged: it could not be made.
        """
        return VectorIndex.create(self._folder / name, manifest)

    def open(self, name: str, manifest: Manifest, sealed: str) -> VectorIndex:
        """Open one; see `VectorIndex.open`.

        Raises:
            IndexDamaged: it is not what the catalogue says.
        """
        return VectorIndex.open(self._folder / name, manifest, sealed)

    def seal(self, name: str) -> str:
        """Digest of its files as they are now."""
        return seal(self._folder / name)

    def remove(self, name: str) -> None:
        """Remove one that serves nobody."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def sweep(self, keep: str) -> None:
        """Remove what killed rebuilds and damaged indexes left behind."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if _SUBFOLDER.fullmatch(path.name) and path.name != keep:
                    self.remove(path.name)

    def close(self) -> None:
        """Nothing: each index gives its own files back."""


def make_collection(client: Any, name: str, manifest: Manifest) -> Any:
    """A new collection with what it says about itself. Errors are Chroma's."""
    return client.create_collection(
        name, metadata=dict(manifest), configuration={"hnsw": GRAPH}, embedding_function=None
    )


def find_collection(client: Any, name: str, manifest: Manifest) -> Any:
    """The collection that says of itself what the catalogue says. Other errors are Chroma's.

    Raises:
        IndexDamaged: it is another one.
    """
    collection = client.get_collection(name, embedding_function=None)
    found = dict(collection.metadata or {})
    if found != dict(manifest):
        raise IndexDamaged(f"{name}: holds another index ({found}) than the catalogue's ({dict(manifest)}).")
    return collection


def seal(folder: Path) -> str:
    """Digest of the graph's files; empty where there are none.

    Chroma changes them while it is written to, and at every close: unused room is then written as memory happens to
    be.
    """
    files = sorted(folder.glob("*/*"))
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _client(folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(path=str(folder), settings=Settings(anonymized_telemetry=False))


def _check_lock(path: Path) -> None:
    """Look for a lock before Chroma does: it would wait for minutes with Python's global lock in its hand."""
    if not path.is_file():
        raise IndexDamaged(f"{path}: the vector index is missing.")
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise IndexDamaged(f"{path}: the vector index is locked by another process or damaged ({error}).") from error


@contextmanager
def explained(doing: str) -> Iterator[None]:
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
        if _unreachable(error):
            raise IndexUnreachable(f"vector index, {doing}: the Chroma server does not answer ({reason}).") from error
        raise IndexDamaged(f"vector index, {doing}: {reason}") from error


def _unreachable(error: BaseException) -> bool:
    import httpx

    return isinstance(error, httpx.TransportError) or "Could not connect to a Chroma server" in str(error)
