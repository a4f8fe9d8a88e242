"""The knowledge store: catalogue (the truth), keywords and Chroma, kept consistent.

A change is one SQL transaction that also writes down which passages Chroma has not seen; Chroma follows in batches,
and what a crash left behind is caught up at the next opening. One writer process; any number of its threads.
Documents are not read, split or embedded here. Wired by `assistant/build.py`, filled by `ingest.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from knowledge import catalog, listing, retrieval
from knowledge.database import migrate, reading, writing
from knowledge.dense import DenseSearch
from knowledge.embedding import embed_passages
from knowledge.errors import IndexDamaged, KnowledgeError
from knowledge.listing import DocumentSummary
from knowledge.sentences import quotable
from knowledge.text import clean
from knowledge.types import Embedder, Hit, Passage, Progress, SourceSummary, Vectors

MIGRATIONS = Path(__file__).parent / "migrations"
QUESTIONS_REMEMBERED = 32
VERSION_TABLE = "alembic_version_knowledge"


class KnowledgeStore:
    """Everything known, searchable. Safe to use from several threads of one process."""

    def __init__(self, engine: Engine, folder: Path, embedder: Embedder) -> None:
        """Open, verify, and repair where needed. Quick on a healthy home.

        A damaged index never fails the opening: it is rebuilt, or `degraded` says what is missing.

        Args:
            engine: the SQL database, from `open_engine`.
            folder: Chroma's own folder, made when first needed.
            embedder: what passages and questions are embedded with.

        Raises:
            KnowledgeError: the database cannot be used.
        """
        if engine.dialect.name != "sqlite":
            raise KnowledgeError(f"{engine.url!r}: keyword search needs SQLite so far. Unset the setting `database`.")
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self.embedder = embedder
        self._engine = engine
        self._lock = threading.RLock()
        self._dense = DenseSearch(engine, folder, embedder, self._lock)
        self._version: str | None = None
        self._asked: dict[str, Vectors] = {}
        with reading(engine) as connection:
            made_with = catalog.meta(connection).get("embedder", "")
            self._count = catalog.count(connection)
        self._foreign: str | None = None
        if self._count and made_with != embedder.fingerprint:
            self._foreign = (
                f"The passages were embedded with {made_with}, the setting asks for {embedder.fingerprint}. "
                "Run `rungs reindex` to embed them again, or set `embedder` back."
            )
        else:
            self._dense.open()

    @property
    def degraded(self) -> str | None:
        """None while everything works, else what does not, why, and what to do."""
        return self._foreign or self._dense.degraded

    # reading the catalogue

    @property
    def index_version(self) -> str:
        """Short id of what can be found now: the same documents under the same embedder give the same id."""
        with self._lock:
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
            with writing(self._engine) as connection:
                if not self._count:
                    catalog.set_meta(connection, embedder=self.embedder.fingerprint)
                touched = catalog.put(connection, document, passages, vectors, sentences, self.embedder.fingerprint)
                catalog.changed(connection, touched)
                total = catalog.count(connection)
            self._changed(touched, total)

    def remove(self, source: str, paths: Sequence[str] | None = None) -> int:
        """Remove documents from catalogue, keywords and index; None is the whole source.

        Returns:
            How many documents were removed.
        """
        chosen = None if paths is None else [clean(path) for path in paths]
        with self._lock:
            with writing(self._engine) as connection:
                removed, touched = catalog.remove(connection, clean(source), chosen)
                catalog.changed(connection, touched)
                total = catalog.count(connection)
            self._changed(touched, total)
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

    def _changed(self, touched: set[str], count: int) -> None:
        self._count = count
        self._version = None
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
