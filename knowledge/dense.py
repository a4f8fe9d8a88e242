"""The dense way of finding passages: a Chroma index that follows the catalogue, exact search where it cannot.

Owns the index's folder. Each index lives in a subfolder of its own whose name the catalogue knows, so that a rebuild
never touches what serves, and a damaged or locked one is left behind, not repaired in place. Called by `store.py`,
whose lock it shares: every public method but `rebuild` and `close` expects the lock to be held.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine

from knowledge import canaries, catalog
from knowledge.database import reading, writing
from knowledge.embedding import embed_passages
from knowledge.errors import IndexDamaged, KnowledgeError, StorageFull
from knowledge.exact import ExactSearch
from knowledge.index import Manifest, VectorIndex, seal
from knowledge.types import Embedder, Progress, Vectors

log = logging.getLogger(__name__)

BATCH = 512
"""Changed passages that wait before Chroma is written: one large write is far cheaper than many small ones."""
EMBED_BATCH = 64
FILL_BATCH = 1000
REPAIRED_AT_OPEN = 3000
"""A damaged index of at most this many passages is rebuilt while opening; a larger one in the background."""
RETRY_SECONDS = 30.0
_SUBFOLDER = re.compile(r"index-[0-9a-f]{8}")


class DenseSearch:
    """Nearest passages by vector, from Chroma while it is honest and from the catalogue's vectors while it is not."""

    def __init__(self, engine: Engine, folder: Path, embedder: Embedder, lock: threading.RLock) -> None:
        self.degraded: str | None = None
        self._engine = engine
        self._folder = folder
        self._embedder = embedder
        self._lock = lock
        self._exact = ExactSearch(embedder)
        self._index: VectorIndex | None = None
        self._name = ""
        self._backlog: set[str] = set()
        self._retry_at = 0.0
        self._meanwhile: set[str] | None = None
        self._stopping = threading.Event()
        self._repairing: threading.Thread | None = None

    # opening

    def open(self) -> None:
        """Open and verify the index that the catalogue names; catch it up, or have it rebuilt."""
        with reading(self._engine) as connection:
            facts = catalog.meta(connection)
            self._backlog = catalog.backlog(connection)
            count = catalog.count(connection)
        self._name = facts.get("index", "")
        if not count:
            self._forget_all()
            return
        if not self._name:  # killed before the first index was made
            self.follow()
            return
        try:
            self._index = VectorIndex.open(
                self._folder / self._name, self._manifest(self._name), facts.get("index_seal", "")
            )
            self._catch_up(self._index)
            self._verify(self._index)
            self._sweep()
        except (IndexDamaged, StorageFull) as error:
            self._repair(error, count)

    def _forget_all(self) -> None:
        """An empty catalogue needs no index: the first passage makes one."""
        self._name = ""
        if self._backlog:
            with writing(self._engine) as connection:
                catalog.clear_backlog(connection)
            self._backlog = set()
        self._sweep()

    def _repair(self, error: KnowledgeError, count: int) -> None:
        log.warning("%s Rebuilding it from the catalogue.", error)
        self._drop()
        if count > REPAIRED_AT_OPEN:
            self.degraded = f"{error} It is being rebuilt; until then vectors are searched without it."
            self._repairing = threading.Thread(target=self._repair_behind, name="index-repair", daemon=True)
            self._repairing.start()
            return
        try:
            for _ in self.rebuild():
                pass
        except KnowledgeError as failure:
            self._fail(failure)

    def _repair_behind(self) -> None:
        try:
            with closing(self.rebuild()) as steps:
                for _ in steps:
                    if self._stopping.is_set():
                        return
        except KnowledgeError as failure:
            self._fail(failure)

    def _verify(self, index: VectorIndex) -> None:
        with reading(self._engine) as connection:
            canaries.check(connection, index, self._embedder)

    # following

    def changed(self, touched: set[str]) -> None:
        """Take note of passages that the catalogue has just committed; write them once there are enough."""
        self._exact.forget()
        self._backlog |= touched
        if self._meanwhile is not None:
            self._meanwhile |= touched
        if len(self._backlog) >= BATCH:
            self.follow()

    def follow(self) -> None:
        """Bring the index up to date. Where that fails, `degraded` says so and exact search serves."""
        if not self._backlog or time.monotonic() < self._retry_at:
            return
        if self._index is None and self._name:
            return  # damaged: a rebuild reads everything from the catalogue
        try:
            if self._index is None:
                name = _new_name()
                self._index = VectorIndex.create(self._folder / name, self._manifest(name))
                with writing(self._engine) as connection:
                    catalog.set_meta(connection, index=name, index_seal=seal(self._folder / name))
                self._name = name
            self._catch_up(self._index)
            self.degraded = None
        except (IndexDamaged, StorageFull) as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._fail(error)

    def _catch_up(self, index: VectorIndex) -> None:
        if self._backlog:
            self._reconcile(index, self._backlog)
            sealed = seal(self._folder / self._name)
            with writing(self._engine) as connection:
                catalog.clear_backlog(connection)
                catalog.set_meta(connection, index_seal=sealed)
            self._backlog = set()

    def _reconcile(self, index: VectorIndex, ids: set[str]) -> None:
        """Make the index hold of `ids` exactly what the catalogue holds; harmless to repeat."""
        with reading(self._engine) as connection:
            numbers = catalog.numbers_of(connection, sorted(ids))
            blobs = catalog.vectors_of(connection, list(numbers.values()), self._embedder.fingerprint)
        there = {passage_id: blobs[number] for passage_id, number in numbers.items() if number in blobs}
        if gone := sorted(ids - there.keys()):
            index.remove(gone)
        if there:
            index.put(list(there), catalog.matrix(list(there.values()), self._embedder.dimension))

    # finding

    def nearest(self, connection: Connection, vectors: Vectors, limit: int) -> list[list[int]]:
        """Numbers of the nearest passages for each query vector, nearest first."""
        if self._index and not self._backlog:
            try:
                found = self._index.nearest(vectors, limit)
                numbers = catalog.numbers_of(connection, list({i for ids in found for i in ids}))
                self.degraded = None
                return [[numbers[i] for i in ids if i in numbers] for ids in found]
            except (IndexDamaged, StorageFull) as error:
                self._fail(error)
        return self._exact.nearest(connection, vectors, limit)

    # rebuilding

    def rebuild(self) -> Generator[Progress]:
        """Build index and keywords anew from the catalogue beside what serves, then swap. Takes the lock itself.

        Raises:
            KnowledgeError: one is running already.
            StorageFull, IndexDamaged: it could not be written; what served goes on serving.
        """
        with self._lock:
            if self._meanwhile is not None:
                raise KnowledgeError("A reindex is running already. Wait until it is done.")
            self._meanwhile = set()
        fresh: VectorIndex | None = None
        name = _new_name()
        try:
            yield from self._embed_missing()
            fresh = VectorIndex.create(self._folder / name, self._manifest(name))
            yield from self._fill(fresh)
            with self._lock:
                self._reconcile(fresh, self._meanwhile)
                self._verify(fresh)
                self._swap(name, fresh)
            fresh = None
        finally:
            self._meanwhile = None
            if fresh is not None:
                fresh.close()
            if name != self._name:
                shutil.rmtree(self._folder / name, ignore_errors=True)

    def _embed_missing(self) -> Iterator[Progress]:
        fingerprint = self._embedder.fingerprint
        with reading(self._engine) as connection:
            total = catalog.count(connection)
        done = 0
        while True:
            with reading(self._engine) as connection:
                some = catalog.unembedded(connection, fingerprint, EMBED_BATCH)
            if not some:
                return
            vectors, sentences = embed_passages(self._embedder, [passage for _, passage in some])
            with self._lock, writing(self._engine) as connection:
                catalog.add_vectors(connection, [number for number, _ in some], vectors, sentences, fingerprint)
            done += len(some)
            yield Progress(done, total, "embedding passages")

    def _fill(self, index: VectorIndex) -> Iterator[Progress]:
        done, last = 0, -1
        with reading(self._engine) as connection:
            total = catalog.count(connection)
        while True:
            with reading(self._engine) as connection:
                rows = catalog.vectors_after(connection, last, self._embedder.fingerprint, FILL_BATCH)
            if not rows:
                return
            index.put([row.id for row in rows], catalog.matrix([row.vector for row in rows], self._embedder.dimension))
            done, last = done + len(rows), rows[-1].number
            yield Progress(done, max(done, total), "writing the index")

    def _swap(self, name: str, fresh: VectorIndex) -> None:
        sealed = seal(self._folder / name)
        with writing(self._engine) as connection:
            catalog.rebuild_keywords(connection)
            catalog.keep_vectors_of(connection, self._embedder.fingerprint)
            catalog.clear_backlog(connection)
            catalog.set_meta(connection, embedder=self._embedder.fingerprint, index=name, index_seal=sealed)
        self._drop()
        self._index, self._name, self._backlog, self.degraded = fresh, name, set(), None
        self._exact.forget()
        self._sweep()

    # giving back

    def stop_repair(self) -> None:
        """Stop a rebuild in the background. Not with the lock held: the rebuild may be waiting for it."""
        if self._repairing:
            self._stopping.set()
            self._repairing.join()
            self._repairing = None
            self._stopping.clear()

    def close(self) -> None:
        """Bring the index up to date and give its files back. Idempotent."""
        self.stop_repair()
        with self._lock:
            if self._index or not self._name:
                self.follow()
            if self._drop():
                self._seal_again()

    def _drop(self) -> bool:
        """Close the index; whether there was one and it closed without complaint."""
        index, self._index = self._index, None
        if not index:
            return False
        try:
            index.close()
        except (IndexDamaged, StorageFull) as error:
            log.warning("%s", error)
            return False
        return True

    def _seal_again(self) -> None:
        """Remember the files as closing left them. Where that fails, the next opening rebuilds the index."""
        sealed = seal(self._folder / self._name)
        try:
            with writing(self._engine) as connection:
                if sealed and catalog.meta(connection).get("index_seal") != sealed:
                    catalog.set_meta(connection, index_seal=sealed)
        except KnowledgeError as error:
            log.warning("%s", error)

    def _sweep(self) -> None:
        """Remove what killed rebuilds and damaged indexes left behind."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if _SUBFOLDER.fullmatch(path.name) and path.name != self._name:
                    shutil.rmtree(path, ignore_errors=True)

    def _manifest(self, name: str) -> Manifest:
        return {"name": name, "embedder": self._embedder.fingerprint, "dimension": self._embedder.dimension}

    def _fail(self, error: KnowledgeError) -> None:
        log.warning("%s", error)
        self.degraded = f"{error} Vectors are searched without the index; `rungs reindex` rebuilds it."


def _new_name() -> str:
    return f"index-{secrets.token_hex(4)}"
