"""Signals are finite numbers that move the right way."""

import math

from assistant import signals
from assistant.types import Token
from knowledge.types import Hit, Passage, Sentence


def passage(text: str, document: str = "a.md") -> Passage:
    return Passage(f"{document}-{hash(text)}", "s", document, "Title", "Heading", text, 0)


def evidence(text: str, similarity: float) -> tuple[tuple[Hit, ...], tuple[Sentence, ...]]:
    found = passage(text)
    hit = Hit(found, 0.03, similarity, 0, 0, 7.0)
    return (hit,), (Sentence(text, found, 0, len(text), similarity, similarity + 0.5),)


def test_an_empty_retrieval_gives_finite_signals() -> None:
    assert all(math.isfinite(value) for value in signals.from_evidence(("what?",), (), ()).values())


def test_evidence_that_holds_the_words_of_the_question_covers_more() -> None:
    question = ("When was Harvard founded?",)
    near = signals.from_evidence(question, *evidence("Harvard was founded in 1636.", 0.8))
    far = signals.from_evidence(question, *evidence("Bananas are yellow.", 0.1))
    assert near["covered"] > far["covered"]
    assert near["named_covered"] == 1.0 and far["named_covered"] == 0.0
    assert near["kind_matches"] == 1.0 and far["kind_matches"] == 0.0


def test_unsure_tokens_lower_the_token_signals() -> None:
    sure = signals.from_tokens([Token("a", -0.01, -5.0)] * 8)
    unsure = signals.from_tokens([Token("a", -0.01, -5.0)] * 7 + [Token("b", -4.0, -4.1)])
    assert unsure["logprob_min"] < sure["logprob_min"]
    assert unsure["logprob_mean"] < sure["logprob_mean"]
    assert unsure["margin_mean"] < sure["margin_mean"]


def test_tokens_without_probabilities_count_as_unsure() -> None:
    assert signals.from_tokens([Token("a")])["logprob_mean"] == signals.NO_PROBABILITY


def test_a_number_that_stands_in_no_evidence_is_seen() -> None:
    _, sentences = evidence("The deadline is 30 days.", 0.5)
    assert signals.from_support("It is 30 days.", sentences)["unsupported_named"] == 0.0
    assert signals.from_support("It is 45 days.", sentences)["unsupported_named"] > 0.0


def test_nothing_that_is_not_finite_gets_through() -> None:
    assert signals.finite({"a": math.nan, "b": math.inf, "c": 1.0}) == {"a": 0.0, "b": 0.0, "c": 1.0}
