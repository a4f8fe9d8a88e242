"""Any sentence-transformers model as an embedder: a folder, or a hub name that the owner configured.

Takes seconds and hundreds of megabytes to import, which is why the bundled model has a way of its own (`minilm.py`).
Called by `embedding.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from knowledge.errors import KnowledgeError
from knowledge.parts import parts_alone
from knowledge.text import clean
from knowledge.types import Span, Vectors

PROBED_VALUES = 4096


class SentenceModel:
    """A sentence-transformers model, its vectors brought to unit length."""

    def __init__(self, name: str) -> None:
        """Load the model.

        Raises:
            KnowledgeError: the library or the model is not there, or it gives no single vector per text.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise KnowledgeError(f"embedder {name!r} needs a library: pip install sentence-transformers") from error
        try:
            self._model: Any = SentenceTransformer(name)
        except (OSError, ValueError) as error:
            raise KnowledgeError(
                f"embedder {name!r} cannot be loaded ({error}). Give a sentence-transformers folder or hub name, "
                "or set `embedder` to minilm."
            ) from error
        self.name = name
        self.dimension = self.embed(["dimension"]).shape[1]
        self.fingerprint = f"{name.rstrip('/').rsplit('/', 1)[-1]}-{_weights_digest(self._model)}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension)."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            [clean(text) for text in texts], normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """Vectors of texts and of stretches of them, each read by itself: pooling differs from model to model."""
        return parts_alone(self, texts, parts)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, special tokens excluded."""
        return len(self._model.tokenizer.encode(clean(text), add_special_tokens=False))


def _weights_digest(model: Any) -> str:
    """Identifies a model by its layers and the beginnings of all its weights, wherever its files lie."""
    digest = hashlib.sha256(repr(model).encode())
    for name, values in model.state_dict().items():
        digest.update(f"{name}{tuple(values.shape)}".encode())
        digest.update(values.flatten()[:PROBED_VALUES].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
