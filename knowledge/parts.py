"""Vectors of stretches of a text: made one by one where a model cannot give them in its own pass, and packed to keep.

Packed to a byte a dimension, which moves a cosine by less than 0.005. Called by the embedders and `catalog.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from knowledge.types import Embedder, Span, Vectors

STEPS = 127


def parts_alone(
    embedder: Embedder, texts: Sequence[str], parts: Sequence[Sequence[Span]]
) -> tuple[Vectors, list[Vectors]]:
    """`Embedder.embed_parts` by embedding every stretch as a text of its own."""
    stretches = [text[start:end] for text, spans in zip(texts, parts, strict=True) for start, end in spans]
    vectors = embedder.embed([*texts, *stretches])
    ends = np.cumsum([len(spans) for spans in parts[:-1]])
    return vectors[: len(texts)], np.split(vectors[len(texts) :], ends) if parts else []


def packed(vectors: Vectors) -> bytes:
    """Unit vectors, shape (n, dimension), as bytes: each row scaled to its largest value."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-9)
    return bytes(np.round(vectors / largest * STEPS).astype(np.int8).tobytes())


def unpacked(content: bytes, dimension: int) -> Vectors:
    """What was packed, of unit length again, shape (n, dimension)."""
    vectors = np.frombuffer(content, dtype=np.int8).reshape(-1, dimension).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors
