"""Embedders: texts to unit vectors.

`EMBEDDERS` names those that ship; any other name is a sentence-transformers folder or hub name. Heavy libraries are
imported only by the one that is made. Called by `assistant/build.py`; `ingest.py` and the store use what it returns.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from knowledge.types import Embedder, Passage, Vectors
from knowledge.words import stem


def embedded_text(passage: Passage) -> str:
    """What of a passage is embedded: its heading path (the title where there is none), then its text."""
    return f"{passage.heading or passage.title}\n{passage.text}"


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
