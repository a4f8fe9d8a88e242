"""The rule that says what is right."""

from collections.abc import Sequence

import numpy as np
import pytest

from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import grade, is_short, normalise, token_f1
from assistant.types import Answer, Citation
from knowledge.types import Vectors


class SameEmbedder:
    """Every text is equally near; what is tested is the rest of the rule."""

    name, fingerprint, dimension = "same", "same", 2

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def graded(text: str, *golds: str, expect: str = "answer", outcome: str = "answered"):
    row = GoldenRow("r", "When?", (), expect, golds)  # type: ignore[arg-type]
    return grade(row, Answer(text, outcome), SameEmbedder())  # type: ignore[arg-type]


def test_a_short_gold_must_stand_in_the_answer_as_words() -> None:
    assert graded("It was founded in 1636. [1]", "1636").correct
    assert not graded("It was founded in 16360.", "1636").correct
    assert graded("The Port is `7860`!", "port is 7860").correct


def test_a_right_span_in_a_wall_of_words_is_not_right() -> None:
    result = graded("filler " * 60 + "1636", "1636")
    assert result.contains and not result.correct and result.words == 61


def test_declining_is_right_only_where_it_is_expected() -> None:
    assert graded("I do not know.", expect="decline", outcome="abstained").correct
    assert not graded("It is 5.", expect="decline").correct
    assert not graded("I do not know.", "1636", outcome="abstained").correct


def test_any_answer_must_not_lean_on_a_document() -> None:
    row = GoldenRow("r", "hi", (), "any")
    citation = Citation("a.md", "A", "", "", "quote", 0.5)
    assert grade(row, Answer("Hello!", "answered"), SameEmbedder()).correct
    assert not grade(row, Answer("quote", "answered", citations=(citation,)), SameEmbedder()).correct


def test_a_long_gold_wants_shared_terms() -> None:
    gold = "To reset the board, press the button twice quickly and wait until the orange light starts to pulse slowly."
    assert not is_short(gold)
    assert graded("Press the reset button twice quickly and wait for the orange light.", gold).correct
    assert not graded("Invoices are sent monthly to billing customers worldwide.", gold).correct


def test_citation_markers_are_no_words() -> None:
    assert graded("Two words [1] [2]", "two words").words == 2


@pytest.mark.parametrize(
    ("answer", "gold", "f1"), [("the cat sat", "cat sat", 1.0), ("dog", "cat", 0.0), ("", "cat", 0.0)]
)
def test_token_f1_is_that_of_squad(answer: str, gold: str, f1: float) -> None:
    assert token_f1(answer, gold) == pytest.approx(f1)


def test_normalising_keeps_words_only() -> None:
    assert normalise("The  “Quick” brown-fox. [12]") == "quick brown fox"
