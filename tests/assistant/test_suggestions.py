"""Suggested questions come from the documents, are spread over them, and are not offered twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import suggestions
from assistant.build import Rungs, build
from assistant.settings import Settings
from assistant.types import Answer, Citation
from knowledge.ingest import ingest


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    pages = tmp_path / "pages"
    pages.mkdir()
    for number in range(40):
        (pages / f"{number:02}.md").write_text(
            f"# Subject number {number}\n\nIt is a subject.\n\n## How to mend subject {number}\n\nWith glue.\n\n"
            f"## Why is subject {number} blue?\n\nBecause of the paint on subject {number}.\n"
        )
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash", demo=False))
    list(ingest(built.store, [pages]))
    yield built
    built.close()


def test_the_pool_is_capped_spread_and_the_same_every_time(rungs: Rungs) -> None:
    questions = suggestions.pool(rungs.store)
    assert len(questions) == len(set(questions)) == suggestions.POOL
    assert questions == suggestions.pool(rungs.store)
    numbers = {word for question in questions for word in question.rstrip("?").split() if word.isdigit()}
    assert len(numbers) == suggestions.POOL
    assert all(question.endswith("?") for question in questions)


def test_an_empty_store_suggests_nothing(tmp_path: Path) -> None:
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash", demo=False))
    try:
        assert suggestions.pool(built.store) == ()
        assert suggestions.opening((), frozenset(), "visitor") == ()
        assert suggestions.following(built.store, (), frozenset(), Answer("x", "answered")) == ()
    finally:
        built.close()


def test_a_visitor_is_offered_the_same_and_nothing_asked_before(rungs: Rungs) -> None:
    questions = suggestions.pool(rungs.store)
    first = suggestions.opening(questions, frozenset(), "visitor")
    assert first == suggestions.opening(questions, frozenset(), "visitor") and len(first) == suggestions.SHOWN
    later = suggestions.opening(questions, frozenset(first), "visitor")
    assert not set(first) & set(later)
    assert len({suggestions.opening(questions, frozenset(), str(n)) for n in range(20)}) > 3


def test_after_an_answer_what_is_nearest_comes_first(rungs: Rungs) -> None:
    questions = suggestions.pool(rungs.store)
    target = questions[17]
    answer = Answer("x", "answered", "rag", 0.9, (Citation("d", "t", "h", "", target, 1.0),))
    assert suggestions.following(rungs.store, questions, frozenset(), answer)[0] == target
    assert target not in suggestions.following(rungs.store, questions, frozenset({target}), answer)
    assert suggestions.explored(questions, frozenset({target, "something else"})) == 1


@pytest.mark.parametrize(
    ("heading", "question"),
    [
        ("Why is it blue?", "Why is it blue?"),
        ("How to mend a lamp", "How do I mend a lamp?"),
        ("Descaling a  kettle", "Tell me about descaling a kettle"),
        ("LoRA adapters", "Tell me about LoRA adapters"),
        ("Reset your board", "How do I reset my board?"),
        ("If you lose your key", "What can I do if I lose my key?"),
    ],
)
def test_a_heading_becomes_a_question(heading: str, question: str) -> None:
    assert suggestions.phrased(heading) == question
