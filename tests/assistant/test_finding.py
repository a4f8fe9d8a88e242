"""Evidence: found in a real store, in the light of the conversation; what fails degrades it and never the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.confidence import NeedsNoDocument
from assistant.finding import EvidenceFinder
from assistant.types import Evidence, Question, Turn
from knowledge.embedding import HashEmbedder
from knowledge.errors import IndexDamaged, KnowledgeError, StorageFull
from knowledge.index import VectorIndex
from knowledge.store import KnowledgeStore
from tests.knowledge.storing import HASH, opened, put

LAMP = "The lamp is switched on with the red lever. Wipe the lamp with a dry cloth on Fridays."
KETTLE = "The kettle whistles at one hundred degrees. Wipe the kettle with vinegar every spring."
BRIDGE = "The bridge carries carts of up to nine tons. Nobody may run on the bridge."


class OtherEmbedder(HashEmbedder):
    """The same vectors under another name: what a changed setting looks like to the store."""

    fingerprint = "another-embedder"


class BrokenStore:
    """A store one of whose doors raises; stands in for damage that comes up between two calls."""

    degraded = None

    def __init__(self, store: KnowledgeStore, door: str, error: KnowledgeError) -> None:
        self.store, self.door, self.error = store, door, error
        self.embedder = store.embedder

    def __getattr__(self, name: str) -> Any:
        if name == self.door:
            raise self.error
        return getattr(self.store, name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with opened(tmp_path) as filled:
        for path, text in (("lamp.md", LAMP), ("kettle.md", KETTLE), ("bridge.md", BRIDGE)):
            put(filled, path, [text])
        yield filled


def finder(store: Any, passages: int = 8, probe: NeedsNoDocument | None = None) -> EvidenceFinder:
    return EvidenceFinder(store, passages, probe)


def follow_up(text: str, *earlier: str) -> Question:
    return Question(text, "c", tuple(Turn("user", said) for said in earlier))


def probe_for(text: str, embedder: str = HASH.fingerprint) -> NeedsNoDocument:
    """Answers 5 for exactly this question, and less for every other one."""
    return NeedsNoDocument(embedder, tuple((4 * HASH.embed([text])[0]).tolist()), 1.0)


def documents(evidence: Evidence) -> list[str]:
    return [hit.passage.document for hit in evidence.hits]


def test_the_passage_that_answers_comes_first_and_its_sentence_can_be_marked_in_it(store: KnowledgeStore) -> None:
    evidence = finder(store)(Question("How is a lamp switched on?", "c"))
    assert documents(evidence)[0] == "lamp.md" and evidence.degraded is None
    best = evidence.sentences[0]
    assert best.text == "The lamp is switched on with the red lever."
    assert all(s.passage.text[s.start : s.end] == s.text for s in evidence.sentences)
    assert evidence.queries == ("How is a lamp switched on?",)


def test_what_was_found_is_measured_in_finite_numbers(store: KnowledgeStore) -> None:
    near = finder(store)(Question("How is a lamp switched on?", "c")).signals
    far = finder(store)(Question("Who won the chess match in Reykjavik?", "c")).signals
    assert near.keys() == far.keys() and all(math.isfinite(value) for value in (*near.values(), *far.values()))
    assert near["passage_top"] > far["passage_top"] and near["covered"] == 1.0 > far["covered"]
    assert near["found_by_both"] > 0 and near["follow_up"] == 0.0


def test_a_follow_up_is_searched_with_what_it_leans_on(store: KnowledgeStore) -> None:
    asked = "and what do I wipe it with?"
    for subject, document, answer in (
        ("How is the lamp switched on?", "lamp.md", "dry cloth"),
        ("When does the kettle whistle?", "kettle.md", "vinegar"),
    ):
        evidence = finder(store)(follow_up(asked, subject))
        wiped = [s for s in evidence.sentences if s.text.startswith("Wipe")]
        assert documents(evidence)[0] == wiped[0].passage.document == document and answer in wiped[0].text
        assert evidence.queries == (f"{subject} {asked}", asked)
        assert evidence.signals["follow_up"] == 1.0


def test_a_question_that_stands_alone_is_not_drawn_to_the_subject_before(store: KnowledgeStore) -> None:
    evidence = finder(store)(follow_up("How many tons may the bridge carry?", "How is the lamp switched on?"))
    assert documents(evidence)[0] == "bridge.md" and len(evidence.queries) == 1


def test_no_more_passages_are_found_than_the_setting_says(store: KnowledgeStore) -> None:
    question = Question("Wipe the lamp, the kettle and the bridge", "c")
    assert [len(finder(store, k)(question).hits) for k in (1, 2, 8)] == [1, 2, 3]


def test_an_empty_store_gives_no_evidence_and_no_complaint(tmp_path: Path) -> None:
    with opened(tmp_path) as empty:
        evidence = finder(empty, probe=probe_for("hello"))(Question("hello", "c"))
    assert (evidence.hits, evidence.sentences, evidence.degraded) == ((), (), None)
    assert evidence.signals["passage_top"] == 0.0 and evidence.signals["no_document"] == pytest.approx(5.0, abs=1e-4)


@pytest.mark.parametrize("door", ["retrieve", "question_vectors", "sentence_vectors"])
@pytest.mark.parametrize("error", [IndexDamaged("the index is gone. Run `rungs reindex`."), StorageFull("no room.")])
def test_a_store_that_fails_degrades_the_evidence_in_its_own_words(
    store: KnowledgeStore, door: str, error: KnowledgeError, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BrokenStore(store, door, error)
    evidence = finder(broken)(follow_up("and it?", "How is the lamp switched on?"))
    assert evidence == Evidence(("How is the lamp switched on? and it?", "and it?"), degraded=str(error))
    assert str(error) in caplog.text


def test_passages_of_another_embedder_are_not_searched_and_the_reason_says_what_to_do(tmp_path: Path) -> None:
    with opened(tmp_path) as made:
        put(made, "lamp.md", [LAMP])
    with opened(tmp_path, OtherEmbedder()) as foreign:
        evidence = finder(foreign)(Question("How is a lamp switched on?", "c"))
    assert evidence.hits == () and evidence.degraded is not None
    assert "another-embedder" in evidence.degraded and "rungs reindex" in evidence.degraded


def test_without_its_index_the_store_still_answers_and_the_trace_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise IndexDamaged("the vector index cannot be made.")

    monkeypatch.setattr(VectorIndex, "create", damaged)
    with opened(tmp_path) as store:
        put(store, "lamp.md", [LAMP])
        evidence = finder(store)(Question("How is a lamp switched on?", "c"))
    assert documents(evidence) == ["lamp.md"] and evidence.sentences and evidence.signals["passage_top"] > 0
    assert evidence.degraded is not None and "cannot be made" in evidence.degraded


def test_the_probe_looks_at_the_question_alone_in_any_conversation(store: KnowledgeStore) -> None:
    asked, subject = "and what do I wipe it with?", "How is the lamp switched on?"
    found = finder(store, probe=probe_for(asked))
    assert found(follow_up(asked, subject)).signals["no_document"] == pytest.approx(5.0, abs=1e-4)
    assert found(Question(subject, "c")).signals["no_document"] < 4


def test_small_talk_follows_nothing(store: KnowledgeStore) -> None:
    talk, subject = "hello there", "How is the lamp switched on?"
    assert finder(store, probe=probe_for(talk))(follow_up(talk, subject)).queries == (talk,)
    assert len(finder(store, probe=None)(follow_up(talk, subject)).queries) == 2


def test_a_probe_of_another_embedder_is_not_used(store: KnowledgeStore) -> None:
    question = Question("How is a lamp switched on?", "c")
    assert "no_document" in finder(store, probe=probe_for("x"))(question).signals
    for probe in (None, probe_for("x", embedder="another-embedder"), NeedsNoDocument("other", (1.0,), 0.0)):
        evidence = finder(store, probe=probe)(question)
        assert "no_document" not in evidence.signals and evidence.degraded is None and evidence.hits
