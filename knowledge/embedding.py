"""Embedders: texts to unit vectors.

`EMBEDDERS` names those that ship; any other name is a sentence-transformers folder or hub name. Heavy libraries are
imported only by the one that is made. Called by `assistant/build.py`; `ingest.py` and the store use what it returns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from knowledge.parts import parts_alone
from knowledge.sentences import quotable
from knowledge.types import Embedder, Passage, Span, Vectors
from knowledge.words import stem


def embedded_text(passage: Passage) -> str:
    """What of a passage is embedded: its heading path (the title where there is none), then its text."""
    return f"{passage.heading or passage.title}\n{passage.text}"


def embed_passages(embedder: Embedder, passages: Sequence[Passage]) -> tuple[Vectors, list[Vectors]]:
    """Vectors of passages, shape (n, dimension), and for each those of what can be quoted of it (`quotable`)."""
    addresses = [embedded_text(replace(passage, text="")) for passage in passages]
    texts = [address + passage.text for address, passage in zip(addresses, passages, strict=True)]
    parts = [
        [(start + len(address), end + len(address)) for start, end in quotable(passage.text)]
        for address, passage in zip(addresses, passages, strict=True)
    ]
    return embedder.embed_parts(texts, parts)


class HashEmbedder:
    """Hashed bag of stems: deterministic, instant, knows no meaning. For logic tests, not for people."""

    name = "hash"
    fingerprint = "hash-v1-256"
    dimension = 256
    _word = re.compile(r"[^\W_]+")

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 256); texts that share stems are near."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in self._word.findall(text) or [text]:
                digest = hashlib.blake2b(stem(word).encode("utf-8", "replace"), digest_size=8).digest()
                row[int.from_bytes(digest[:4]) % self.dimension] += 1.0 if digest[4] & 1 else -1.0
            if not row.any():
                row[0] = 1.0
            row /= np.linalg.norm(row)
        return vectors

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """Vectors of texts and of stretches of them, each read by itself."""
        return parts_alone(self, texts, parts)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(self._word.findall(text))


def _hash(_cache: Path) -> Embedder:
    return HashEmbedder()


def _minilm(cache: Path) -> Embedder:
    from knowledge.minilm import MiniLM

    return MiniLM(cache)


EMBEDDERS: Mapping[str, Callable[[Path], Embedder]] = {"minilm": _minilm, "hash": _hash}


def make_embedder(name: str, cache: Path) -> Embedder:
    """Make an embedder.

    Args:
        name: a key of `EMBEDDERS`, or a sentence-transformers folder or hub name.
        cache: where files made once on this machine are kept.

    Raises:
        KnowledgeError: it cannot be loaded; says what to install or check.
    """
    if name in EMBEDDERS:
        return EMBEDDERS[name](cache)
    from knowledge.sentence_model import SentenceModel

    return SentenceModel(name)
