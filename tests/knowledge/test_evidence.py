"""The sentences that matter come first, fit their budget, and can be found again in their passage."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from knowledge.embedding import embed_passages, make_embedder
from knowledge.evidence import pick_sentences, within
from knowledge.types import Embedder, Hit, Passage, Sentence


@pytest.fixture
def embedder(tmp_path: Path) -> Embedder:
    return make_embedder("hash", tmp_path)


def hit(text: str, document: str = "a.md", similarity: float = 0.5, heading: str = "Notes") -> Hit:
    passage = Passage(f"{document}:{hash(text)}", "s", document, "Title", heading, text, 0)
    return Hit(passage, 0.03, similarity, 0, 0, 5.0)


def sentence(text: str, score: float, start: int = 0, document: str = "a.md") -> Sentence:
    passage = Passage(document, "s", document, "T", "", "x" * 2000, 0)
    return Sentence(text, passage, start, start + len(text), score, score)


def picked(queries: Sequence[str], hits: Sequence[Hit], embedder: Embedder) -> tuple[Sentence, ...]:
    vectors = embed_passages(embedder, [hit.passage for hit in hits])[1]
    return pick_sentences(queries, embedder.embed(queries)[0], hits, vectors)


def words(text: str) -> int:
    return len(text.split())


def test_the_sentence_that_answers_comes_first(embedder: Embedder) -> None:
    text = "Bananas are yellow fruit. The warranty lasts two years from purchase. Our office has a garden."
    best, *_ = picked(("How long does the warranty last?",), [hit(text)], embedder)
    assert best.text == "The warranty lasts two years from purchase."


def test_a_span_finds_the_sentence_in_its_passage(embedder: Embedder) -> None:
    text = "First things come first.\nThe warranty lasts\ntwo years. It can be extended once."
    for found in picked(("warranty",), [hit(text)], embedder):
        assert " ".join(text[found.start : found.end].split()) == found.text


def test_a_sentence_that_leans_on_the_one_before_brings_it_along(embedder: Embedder) -> None:
    text = "The warranty lasts two years. It can be extended by registering the product online."
    found = picked(("How is the warranty extended by registering?",), [hit(text)], embedder)
    assert any(s.text.startswith("The warranty") and "registering" in s.text for s in found)


def test_an_echo_of_the_question_loses_to_an_answer(embedder: Embedder) -> None:
    text = "If your sketch does not upload. Press the reset button twice when a sketch does not upload."
    best, *_ = picked(("If your sketch does not upload",), [hit(text, heading="Upload")], embedder)
    assert best.text.startswith("Press the reset button")


def test_an_example_that_asks_the_question_is_no_answer(embedder: Embedder) -> None:
    text = '$ rungs ask "Which formats can be read?"\n\nRungs reads Markdown and PDF files.'
    best, *_ = picked(("Which formats can be read?",), [hit(text)], embedder)
    assert best.text == "Rungs reads Markdown and PDF files."


def test_a_question_is_no_answer(embedder: Embedder) -> None:
    text = (
        'Is the warranty long enough for a kettle? The warranty of a kettle lasts two years.\n$ ask "warranty kettle?"'
    )
    best, *_ = picked(("How long does the warranty of a kettle last?",), [hit(text)], embedder)
    assert best.text == "The warranty of a kettle lasts two years."


def test_a_repeated_sentence_is_offered_once(embedder: Embedder) -> None:
    text = "The warranty lasts two years."
    assert len(picked(("warranty",), [hit(text), hit(text, "b.md")], embedder)) == 1


def test_nothing_found_gives_nothing(embedder: Embedder) -> None:
    assert picked(("warranty",), [], embedder) == ()


def test_the_budget_holds_and_the_best_is_kept_whatever_it_costs() -> None:
    long, short = sentence("word " * 90, 1.0), sentence("a few words", 0.9, 600)
    assert within([long, short], cost=words, budget=60, most=3) == (long,)
    three = [sentence(f"number {i} here", 1.0 - i / 100, i * 20) for i in range(5)]
    assert len(within(three, cost=words, budget=60, most=3)) == 3
    assert len(within(three, cost=words, budget=6, most=3)) == 2


def test_far_weaker_sentences_are_left_out() -> None:
    kept = within([sentence("strong", 1.0), sentence("weak", 0.2, 50)], cost=words, budget=60, most=3, drop=0.35)
    assert [s.text for s in kept] == ["strong"]


def test_kept_sentences_stand_in_reading_order() -> None:
    later, earlier = sentence("second", 1.0, 100), sentence("first", 0.9, 10)
    assert [s.text for s in within([later, earlier], cost=words, budget=60, most=3)] == ["first", "second"]


def test_overlapping_sentences_are_not_quoted_twice() -> None:
    whole, part = sentence("one two three", 1.0, 0), sentence("two", 0.9, 4)
    assert within([whole, part], cost=words, budget=60, most=3) == (whole,)


def test_many_long_passages_give_a_bounded_number_of_sentences(embedder: Embedder) -> None:
    hits = [hit(f"Sentence number {i} about the warranty. " * 60, f"{i}.md") for i in range(200)]
    assert len(picked(("warranty",), hits, embedder)) <= 16
