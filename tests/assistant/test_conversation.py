"""Follow-ups are understood in their conversation."""

import pytest

from assistant.conversation import leans_on_history, recent, searched, wordings
from assistant.types import Question, Turn


def asked(text: str, *earlier: str) -> Question:
    history = tuple(turn for said in earlier for turn in (Turn("user", said), Turn("assistant", "Some answer.")))
    return Question(text, "c", history)


@pytest.mark.parametrize("text", ["and how long does that take?", "What about Windows?", "why?", "Can I undo it?"])
def test_a_question_that_points_back_leans_on_its_history(text: str) -> None:
    assert leans_on_history(text)


@pytest.mark.parametrize("text", ["How do I add a folder of documents?", "Which formats can be ingested?"])
def test_a_complete_question_stands_alone(text: str) -> None:
    assert not leans_on_history(text)


def test_a_follow_up_is_searched_with_the_question_it_follows() -> None:
    first, second = wordings(asked("and how do I undo that?", "How do I remove a source?"))
    assert "remove a source" in first and "undo" in first
    assert second == "and how do I undo that?"


def test_a_follow_up_is_also_searched_with_what_was_answered() -> None:
    question = asked("and how do I undo that?", "How do I remove a source?")
    assert searched(question) == (*wordings(question), "Some answer. and how do I undo that?")
    assert searched(asked("Which formats can be ingested?", "Hello")) == ("Which formats can be ingested?",)


def test_a_chain_of_follow_ups_reaches_back_to_the_subject() -> None:
    first, _ = wordings(asked("and then?", "How do I remove a source?", "what about it?"))
    assert "remove a source" in first


def test_a_complete_question_is_searched_as_it_is_in_any_conversation() -> None:
    assert wordings(asked("Which formats can be ingested?", "How do I remove a source?")) == (
        "Which formats can be ingested?",
    )


def test_ten_thousand_turns_of_history_cost_a_bounded_prompt() -> None:
    history = tuple(Turn("user" if i % 2 == 0 else "assistant", "word " * 50) for i in range(10_000))
    kept = recent(history)
    assert len(kept) <= 4 and sum(len(turn.text) for turn in kept) <= 1200
    assert len(wordings(Question("and that?", "c", history))[0]) < 1000
