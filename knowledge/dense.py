"""The dense way of finding passages: a Chroma index that follows the catalogue, exact search where it cannot.

Owns the place where indexes live. Each has a name of its own that the catalogue knows, so that a rebuild never touches
what serves, and a damaged or locked one is left behind, not repaired in place. Where several processes share the
catalogue, one of them at a time brings the index up to date or rebuilds it; what the others did is taken up by
`refresh`. Called by `store.py`, whose lock it shares: every public method but `rebuild` and `close` expects the lock
to be held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext

from sqlalchemy import Connection, Engine

from knowledge import canaries, catalog
from knowledge.database import alone, reading, writing
from knowledge.embedding import embed_passages
from knowledge.errors import IndexDamaged, IndexUnreachable, KnowledgeError, StorageFull
from knowledge.exact import ExactSearch
from knowledge.index import IndexFolder, Manifest, VectorIndex
from knowledge.index_server import IndexServer
from knowledge.types import Embedder, Progress, Vectors

log = logging.getLogger(__name__)

BATCH = 512
"""Changed passages that wait before Chroma is written: one large write is far cheaper than many small ones."""
EMBED_BATCH = 64
FILL_BATCH = 1000
REPAIRED_AT_OPEN = 3000
"""A damaged index of at most this many passages is rebuilt while opening; a larger one in the background."""
RETRY_SECONDS = 30.0
TURN_SECONDS = 1.0
"""How long a question waits for another process that is bringing the index up to date; exact search serves after it."""
LANE = "knowledge"
TASK = "index"
IndexPlace = IndexFolder | IndexServer


class DenseSearch:
    """Nearest passages by vector, from Chroma while it is honest and from the catalogue's vectors while it is not."""

    def __init__(self, engine: Engine, place: IndexPlace, embedder: Embedder, lock: threading.RLock) -> None:
        self.degraded: str | None = None
        self._engine = engine
        self._place = place
        self._embedder = embedder
        self._lock = lock
        self._exact = ExactSearch(embedder)
        self._index: VectorIndex | None = None
        self._name = ""
        self._backlog: set[str] = set()
        self._retry_at = 0.0
        self._lost = False
        """The server did not answer: what it holds is looked at again when it does."""
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
        if count and not self._name:  # killed before the first index was made
            self.follow()
            return
        with self._turn() as mine:
            if not count:
                self._forget_all(mine)
                return
            try:
                self._index = self._open(facts)
                upto = self._catch_up(self._index) if mine else -1
                self._verify(self._index, upto)
                if mine:
                    self._sweep()
                return
            except (IndexDamaged, StorageFull) as error:
                failure = error
        self._repair(failure, count)

    def refresh(self, facts: Mapping[str, str], backlog: set[str]) -> None:
        """Take up what another process committed."""
        self._exact.forget()
        self._backlog = backlog
        try:
            if facts.get("index", "") != self._name:
                self._adopt(facts)
                self.degraded = None
        except (IndexDamaged, StorageFull) as error:
            self._fail(error)
            if isinstance(self._place, IndexFolder):
                self.degraded = "Another process keeps the vector index in its own home. Vectors are searched without "
                self.degraded += "it; give all of them one Chroma server by the setting `chroma`."

    def _turn(self, wait_seconds: float = TURN_SECONDS) -> AbstractContextManager[bool]:
        """Whether this process is the one that may change the index; who is rebuilding it is already."""
        if self._meanwhile is not None:
            return nullcontext(True)
        return alone(self._engine, TASK, wait_seconds)

    def _open(self, facts: Mapping[str, str]) -> VectorIndex:
        return self._place.open(self._name, self._manifest(self._name), facts.get("index_seal", ""))

    def _adopt(self, facts: Mapping[str, str]) -> None:
        """The index that the catalogue names now, instead of the one at hand."""
        self._drop()
        self._name = facts.get("index", "")
        if self._name:
            self._index = self._open(facts)

    def _forget_all(self, mine: bool) -> None:
        """An empty catalogue needs no index: the first passage makes one."""
        self._name, self._backlog = "", set()
        if not mine:
            return
        with writing(self._engine, LANE) as connection:
            if not catalog.count(connection):
                catalog.clear_backlog(connection, catalog.generation(connection))
                catalog.set_meta(connection, index="", index_seal="")
        self._sweep()

    def _sweep(self) -> None:
        try:
            self._place.sweep(self._name)
        except (IndexDamaged, StorageFull) as error:
            log.warning("%s", error)

    def _repair(self, error: KnowledgeError, count: int) -> None:
        if isinstance(error, IndexUnreachable):
            self._fail(error)
            return
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

    def _verify(self, index: VectorIndex, upto: int) -> None:
        with reading(self._engine) as connection:
            canaries.check(connection, index, self._embedder, upto)

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
        if not (self._backlog or self._lost) or time.monotonic() < self._retry_at:
            return
        if self._index is None and self._name and not self._lost:
            return  # damaged: a rebuild reads everything from the catalogue
        try:
            with self._turn() as mine:
                if not mine:
                    self._retry_at = time.monotonic() + TURN_SECONDS * 5
                    return
                self._follow()
            self.degraded, self._lost = None, False
        except (IndexDamaged, StorageFull) as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._fail(error)

    def _follow(self) -> None:
        with reading(self._engine) as connection:
            facts = catalog.meta(connection)
        if facts.get("index", "") != self._name or self._lost:
            self._adopt(facts)
        if self._index is None:
            name = self._place.new_name()
            self._index = self._place.create(name, self._manifest(name))
            with writing(self._engine, LANE) as connection:
                catalog.set_meta(connection, index=name, index_seal=self._place.seal(name))
            self._name = name
        self._catch_up(self._index)

    def _catch_up(self, index: VectorIndex) -> int:
        """Write what changed; returns the generation that the index is now of."""
        with reading(self._engine) as connection:
            waiting, upto = catalog.backlog(connection), catalog.generation(connection)
        if waiting:
            self._reconcile(index, waiting)
            sealed = self._place.seal(self._name)
            with writing(self._engine, LANE) as connection:
                catalog.clear_backlog(connection, upto)
                catalog.set_meta(connection, index_seal=sealed)
        if self._meanwhile is not None:
            self._meanwhile |= waiting
        self._backlog = set()
        return upto

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
        if self._index and not self._backlog and not (self._lost and time.monotonic() < self._retry_at):
            try:
                found = self._index.nearest(vectors, limit)
                numbers = catalog.numbers_of(connection, list({i for ids in found for i in ids}))
                self.degraded, self._lost = None, False
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
        try:
            with alone(self._engine, TASK, RETRY_SECONDS / 3) as mine:
                if not mine:
                    raise KnowledgeError("Another process is rebuilding the index. Wait until it is done.")
                yield from self._rebuild(self._meanwhile)
        finally:
            self._meanwhile = None

    def _rebuild(self, meanwhile: set[str]) -> Generator[Progress]:
        fresh: VectorIndex | None = None
        name = self._place.new_name()
        try:
            yield from self._embed_missing()
            fresh = self._place.create(name, self._manifest(name))
            yield from self._fill(fresh)
            with self._lock:
                with reading(self._engine) as connection:
                    waiting, upto = catalog.backlog(connection), catalog.generation(connection)
                self._reconcile(fresh, meanwhile | waiting)
                self._verify(fresh, upto)
                self._swap(name, fresh, upto)
            fresh = None
        finally:
            if fresh is not None:
                fresh.close()
            if name != self._name:
                self._place.remove(name)

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
            with self._lock, writing(self._engine, LANE) as connection:
                catalog.add_vectors(connection, [number for number, _ in some], vectors, sentences, fingerprint)
            done += len(some)
            yield Progress(done, total, "embedding passages")

    def _fill(self, index: VectorIndex) -> Iterator[Progress]:
        done, last = 0, -1
        with reading(self._engine) as connection:
            total = catalog.count(connection)
            end = max(catalog.all_numbers(connection), default=-1)  # what comes later is in the backlog
        while True:
            with reading(self._engine) as connection:
                rows = catalog.vectors_after(connection, last, self._embedder.fingerprint, FILL_BATCH)
            rows = [row for row in rows if row.number <= end]
            if not rows:
                return
            index.put([row.id for row in rows], catalog.matrix([row.vector for row in rows], self._embedder.dimension))
            done, last = done + len(rows), rows[-1].number
            yield Progress(done, max(done, total), "writing the index")

    def _swap(self, name: str, fresh: VectorIndex, upto: int) -> None:
        sealed = self._place.seal(name)
        with writing(self._engine, LANE) as connection:
            catalog.rebuild_keywords(connection)
            catalog.keep_vectors_of(connection, self._embedder.fingerprint)
            catalog.clear_backlog(connection, upto)
            catalog.changed(connection, ())  # so that other processes look at what the catalogue names
            catalog.set_meta(connection, embedder=self._embedder.fingerprint, index=name, index_seal=sealed)
            left = catalog.backlog(connection)
        self._drop()
        self._index, self._name, self._backlog = fresh, name, left
        self.degraded, self._lost = None, False
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
                try:
                    self.follow()
                except KnowledgeError as error:  # the database is gone: the next opening catches up
                    log.warning("%s", error)
            if self._drop():
                self._seal_again()
            self._place.close()

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
        sealed = self._place.seal(self._name)
        try:
            with writing(self._engine, LANE) as connection:
                if sealed and catalog.meta(connection).get("index_seal") != sealed:
                    catalog.set_meta(connection, index_seal=sealed)
        except KnowledgeError as error:
            log.warning("%s", error)

    def _manifest(self, name: str) -> Manifest:
        return {"name": name, "embedder": self._embedder.fingerprint, "dimension": self._embedder.dimension}

    def _fail(self, error: KnowledgeError) -> None:
        log.warning("%s", error)
        self._lost = isinstance(error, IndexUnreachable)
        if self._lost:
            self._retry_at = time.monotonic() + RETRY_SECONDS
        then = "it is looked for again" if self._lost else "`rungs reindex` rebuilds it"
        self.degraded = f"{error} Vectors are searched without the index; {then}."
