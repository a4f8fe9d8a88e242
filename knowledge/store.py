"""The knowledge store: catalogue (the truth), keywords and Chroma, kept consistent.

A change is one SQL transaction that also writes down which passages Chroma has not seen; Chroma follows in batches,
and what a crash left behind is caught up at the next opening. On SQLite one process owns all of it, with any number of
threads; on PostgreSQL several processes share it, and each takes up what the others changed before it answers.
Documents are not read, split or embedded here. Wired by `assistant/build.py`, filled by `ingest.py`.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, Engine

from knowledge import catalog, listing, retrieval
from knowledge.database import is_sqlite, migrate, reading, writing
from knowledge.dense import LANE, DenseSearch
from knowledge.embedding import embed_passages
from knowledge.errors import IndexDamaged, KnowledgeError
from knowledge.index import IndexFolder
from knowledge.index_server import IndexServer
from knowledge.listing import DocumentSummary
from knowledge.sentences import quotable
from knowledge.text import clean
from knowledge.types import Embedder, Hit, Passage, Progress, SourceSummary, Vectors

MIGRATIONS = Path(__file__).parent / "migrations"
QUESTIONS_REMEMBERED = 32
VERSION_TABLE = "alembic_version_knowledge"


class KnowledgeStore:
    """Everything known, searchable. Safe to use from several threads."""

    def __init__(
        self, engine: Engine, folder: Path, embedder: Embedder, chroma: str = "", chroma_key: str = ""
    ) -> None:
        """Open, verify, and repair where needed. Quick on a healthy home.

        A damaged index never fails the opening: it is rebuilt, or `degraded` says what is missing.

        Args:
            engine: the SQL database, from `open_engine`.
            folder: Chroma's own folder, made when first needed.
            embedder: what passages and questions are embedded with.
            chroma: URL of a Chroma server that takes the folder's place; empty for none.
            chroma_key: bearer token for the proxy before it.

        Raises:
            KnowledgeError: the database cannot be used, or `chroma` is no URL.
        """
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self.embedder = embedder
        self._engine = engine
        self._shared = not is_sqlite(engine)
        self._lock = threading.RLock()
        place = IndexServer(chroma, chroma_key, self._installation()) if chroma else IndexFolder(folder)
        self._dense = DenseSearch(engine, place, embedder, self._lock)
        self._version: str | None = None
        self._asked: dict[str, Vectors] = {}
        with reading(engine) as connection:
            facts = catalog.meta(connection)
            self._count = catalog.count(connection)
        self._generation = facts.get("generation", "0")
        self._foreign = self._mismatch(facts)
        if not self._foreign:
            self._dense.open()

    def _installation(self) -> str:
        """Whose collections on a Chroma server are ours."""
        with writing(self._engine, LANE) as connection:
            known = catalog.meta(connection).get("installation")
            if known is None:
                known = secrets.token_hex(6)
                catalog.set_meta(connection, installation=known)
        return known

    def _mismatch(self, facts: Mapping[str, str]) -> str | None:
        made_with = facts.get("embedder", "")
        if not self._count or made_with == self.embedder.fingerprint:
            return None
        return (
            f"The passages were embedded with {made_with}, the setting asks for {self.embedder.fingerprint}. "
            "Run `rungs reindex` to embed them again, or set `embedder` back."
        )

    def _notice(self) -> None:
        """Take up what other processes changed; alone on SQLite, there are none."""
        if not self._shared:
            return
        with self._lock:
            with reading(self._engine) as connection:
                facts = catalog.meta(connection)
                if facts.get("generation", "0") == self._generation:
                    return
                self._count = catalog.count(connection)
                backlog = catalog.backlog(connection)
            self._generation = facts.get("generation", "0")
            self._version = None
            self._foreign = self._mismatch(facts)
            self._dense.refresh(facts, backlog)

    @property
    def degraded(self) -> str | None:
        """None while everything works, else what does not, why, and what to do."""
        return self._foreign or self._dense.degraded

    # reading the catalogue

    @property
    def index_version(self) -> str:
        """Short id of what can be found now: the same documents under the same embedder give the same id."""
        with self._lock:
            self._notice()
            if self._version is None:
                with reading(self._engine) as connection:
                    content = repr((self.embedder.fingerprint, catalog.contents(connection)))
                self._version = hashlib.sha256(content.encode()).hexdigest()[:12]
            return self._version

    def known(self, source: str) -> dict[str, str]:
        """Document path to fingerprint, for one source; empty where the source is unknown."""
        with reading(self._engine) as connection:
            return catalog.known(connection, clean(source))

    def sources(self) -> tuple[SourceSummary, ...]:
        """Every source, by name."""
        with reading(self._engine) as connection:
            return listing.sources(connection)

    def documents(self, source: str | None = None) -> tuple[DocumentSummary, ...]:
        """Every document, of one source or of all."""
        with reading(self._engine) as connection:
            return listing.list_documents(connection, source)

    def headings(self, keep: retrieval.Keep | None = None) -> tuple[tuple[str, str, str], ...]:
        """Distinct (document, title, heading path), in reading order; `keep` chooses sources."""
        with reading(self._engine) as connection:
            return listing.headings(connection, keep)

    def passage(self, passage_id: str) -> Passage | None:
        """One passage by id; None where it is not (or no longer) known."""
        with reading(self._engine) as connection:
            return catalog.passage_by_id(connection, clean(passage_id))

    def passages(self, source: str | None = None, document: str | None = None) -> tuple[Passage, ...]:
        """Passages in reading order: of one source, of one of its documents, or all."""
        with reading(self._engine) as connection:
            return tuple(catalog.passages_in_order(connection, source, document))

    def count(self) -> int:
        """How many passages there are."""
        self._notice()
        return self._count

    # changing it

    def put(
        self,
        source: str,
        path: str,
        fingerprint: str,
        document_title: str,
        uri: str,
        passages: Sequence[Passage],
        vectors: Vectors,
        sentences: Sequence[Vectors],
    ) -> None:
        """Add a document or replace it whole. When this returns it is on disk; before, nothing of it is visible.

        Args:
            source: what was ingested.
            path: the document within it.
            fingerprint: what `known` will report, to tell a changed document.
            document_title: of the document; replaces `Passage.title`.
            uri: where a person can open it.
            passages: in order; ids unique within the store.
            vectors: one unit row for each passage, by `embedder`.
            sentences: for each passage, a unit row for each stretch that can be quoted, in the order of `quotable`.

        Raises:
            StorageFull: no room; the document is as it was before.
            KnowledgeError: vectors that do not fit, or an index of another embedder.
        """
        self._check(path, passages, vectors, sentences)
        row = {"source": source, "path": path, "fingerprint": fingerprint, "title": document_title, "uri": uri}
        document = {name: clean(value) for name, value in row.items()}
        with self._lock:
            with writing(self._engine, LANE) as connection:
                self._claim(connection)
                touched = catalog.put(connection, document, passages, vectors, sentences, self.embedder.fingerprint)
                generation = catalog.changed(connection, touched)
                total = catalog.count(connection)
            self._changed(touched, total, generation)

    def remove(self, source: str, paths: Sequence[str] | None = None) -> int:
        """Remove documents from catalogue, keywords and index; None is the whole source.

        Returns:
            How many documents were removed.
        """
        chosen = None if paths is None else [clean(path) for path in paths]
        with self._lock:
            with writing(self._engine, LANE) as connection:
                removed, touched = catalog.remove(connection, clean(source), chosen)
                generation = catalog.changed(connection, touched)
                total = catalog.count(connection)
            self._changed(touched, total, generation)
            if removed:
                self._dense.follow()
        return removed

    def reindex(self) -> Iterator[Progress]:
        """Rebuild keywords and index from the catalogue, embedding again only what another embedder made.

        What is there serves until the new one is complete. May be left half-way and run again.

        Raises:
            KnowledgeError: one is running already.
            StorageFull, IndexDamaged: it could not be written; the old one stays.
        """
        self._dense.stop_repair()
        yield from self._dense.rebuild()
        self._notice()
        with self._lock:
            self._foreign = None

    def close(self) -> None:
        """Bring the index up to date and give its files back. Idempotent."""
        self._dense.close()

    # finding

    def retrieve(self, queries: Sequence[str], k: int, keep: retrieval.Keep | None = None) -> tuple[Hit, ...]:
        """The `k` best passages for the first query, best first; further queries are other wordings of it.

        Args:
            queries: wordings of one question.
            k: how many passages at most.
            keep: of which sources; None is all.

        Raises:
            IndexDamaged: the passages were embedded with another embedder.
        """
        texts = retrieval.wordings(queries)
        self._notice()
        if not texts or k < 1 or not self._count:
            return ()
        if self._foreign:
            raise IndexDamaged(self._foreign)
        vectors = self.question_vectors(texts)
        with self._lock:
            self._dense.follow()
            with reading(self._engine) as connection:
                return retrieval.search(
                    connection, texts, vectors, nearest=self._dense.nearest, embedder=self.embedder.fingerprint, k=k,
                    keep=keep,
                )  # fmt: skip

    def question_vectors(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of questions, shape (n, dimension). Several parts look at one question: it is embedded once."""
        with self._lock:
            known = dict(self._asked)
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        known |= zip(fresh, self.embedder.embed(fresh), strict=True)
        with self._lock:
            self._asked = dict([*known.items()][-QUESTIONS_REMEMBERED:])
        return np.array([known[text] for text in texts], dtype=np.float32)

    def sentence_vectors(self, passages: Sequence[Passage]) -> list[Vectors]:
        """For each passage the unit vectors of what can be quoted of it, in the order of `quotable`.

        What was stored with the passage; what an older Rungs stored without is embedded now.
        """
        with reading(self._engine) as connection:
            ids = [passage.id for passage in passages]
            stored = catalog.sentence_vectors(connection, ids, self.embedder.fingerprint, self.embedder.dimension)
        fresh = [p for p in passages if p.id not in stored or len(stored[p.id]) != len(quotable(p.text))]
        if fresh:
            stored |= zip((p.id for p in fresh), embed_passages(self.embedder, fresh)[1], strict=True)
        return [stored[passage.id] for passage in passages]

    def _claim(self, connection: Connection) -> None:
        """The first passage says which embedder the catalogue is of; another process may have put it there.

        Raises:
            IndexDamaged: it is another embedder's.
        """
        if not catalog.count(connection):
            catalog.set_meta(connection, embedder=self.embedder.fingerprint)
        elif self._shared and catalog.meta(connection).get("embedder") != self.embedder.fingerprint:
            raise IndexDamaged("Another process embeds with another embedder. Give both the same setting `embedder`.")

    def _changed(self, touched: set[str], count: int, generation: int) -> None:
        self._count = count
        self._version = None
        if int(self._generation) + 1 == generation:  # else others changed something, too, and it is looked at later
            self._generation = str(generation)
        self._dense.changed(touched)

    def _check(self, path: str, passages: Sequence[Passage], vectors: Vectors, sentences: Sequence[Vectors]) -> None:
        if self._foreign:
            raise IndexDamaged(self._foreign)
        shape = (len(passages), self.embedder.dimension)
        if (vectors.shape != shape and passages) or not np.isfinite(vectors).all():
            raise KnowledgeError(f"{path}: its vectors have shape {vectors.shape}, wanted finite ones of {shape}.")
        if len(sentences) != len(passages):
            raise KnowledgeError(f"{path}: {len(sentences)} groups of sentence vectors for {len(passages)} passages.")
        if len({passage.id for passage in passages}) != len(passages):
            raise KnowledgeError(f"{path}: two of its passages have the same id.")
