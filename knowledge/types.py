"""The nouns of this package: documents, passages, hits and sentences. Frozen; every stage returns new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Unit-length row vectors, shape (n, dimension), float32."""


Span = tuple[int, int]
"""Where a stretch of text starts and ends: character offsets, the end excluded."""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document under one heading, on one page where the format has pages."""

    text: str
    heading: tuple[str, ...] = ()
    """Heading path from the document's root, outermost first; empty above the first heading."""
    page: int | None = None
    """1-based page number, where the format has pages."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a loader makes of one file."""

    title: str
    sections: tuple[Section, ...]
    pairs: bool = False
    """True where each section is one question-answer pair: such a section becomes exactly one passage."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document with its address."""

    id: str
    """Deterministic: a hash of source, document, position and text."""
    source: str
    """What was ingested: a folder's or file's absolute POSIX path, or `handbook` for the bundled one."""
    document: str
    """POSIX path relative to the ingested root, unique within its source."""
    title: str
    heading: str
    """Heading path joined by ` > `."""
    text: str
    position: int
    """0-based order within the document."""
    page: int | None = None
    uri: str = ""
    """Where a person can open the document; empty where nothing can be opened."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that retrieval found, with the numbers that brought it there."""

    passage: Passage
    score: float
    """Reciprocal rank fusion score; only comparable within one retrieval."""
    similarity: float
    """Cosine of question and passage, -1 to 1 (computed for keyword-only hits, too)."""
    dense_rank: int | None = None
    """0-based rank in the dense list, None where it was not in it."""
    keyword_rank: int | None = None
    bm25: float | None = None
    """BM25 score, larger is better; None where keywords did not find it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A quotable sentence of a passage: the unit of evidence."""

    text: str
    passage: Passage
    start: int
    """Character offset in `passage.text`, so that a page can mark it."""
    end: int
    similarity: float
    """Cosine of question and sentence."""
    score: float
    """What the selection ranks by; larger is better."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of long work, for a progress bar."""

    done: int
    total: int
    label: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A source file that could not be taken in, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest run changed: numbers of documents, and the passages now in the touched sources."""

    added: int
    updated: int
    unchanged: int
    removed: int
    failed: tuple[Failure, ...]
    passages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One ingested source, as `rungs sources list` shows it."""

    source: str
    documents: int
    passages: int
    updated_at: str
    """ISO 8601, UTC."""


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    name: str
    fingerprint: str
    """Identifies model, pooling and normalisation; an index made under another one is refused."""
    dimension: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension)."""
        ...

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """Unit vectors of texts and of stretches within them, in one go.

        Args:
            texts: n texts.
            parts: for each text, (start, end) character offsets of its stretches.

        Returns:
            Vectors of the texts, shape (n, dimension); for each text, those of its stretches, (stretches, dimension).
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as this model counts them, special tokens excluded."""
        ...


class Loader(Protocol):
    """Turns one file into a document. One per format, listed in `knowledge.loaders.LOADERS`."""

    suffixes: tuple[str, ...]

    def load(self, path: Path) -> Document:
        """Read the file.

        Raises:
            UnreadableDocument: the content is not what the name says, is encrypted, or holds no text.
        """
        ...


class Retriever(Protocol):
    """Finds passages for a question."""

    def retrieve(self, queries: Sequence[str], k: int) -> tuple[Hit, ...]:
        """The `k` best passages for the first query; further queries are other wordings, fused by rank."""
        ...
