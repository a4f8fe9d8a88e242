"""Grading: is an answer right? One rule for short golds, one for long ones; no model judges.

Short gold (at most 10 words): the normalised span stands in an answer of at most 60 words. Long gold: similarity and
shared key terms; bench/RESULTS.md says how the rule agrees with answers labelled by reading. Called by `evaluate.py`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.evaluation.golden import GoldenRow
from assistant.types import Answer
from knowledge.types import Embedder
from knowledge.words import WORD, coverage, terms

SHORT_GOLD_WORDS = 10
ANSWER_WORDS_MAX = 60
WINDOW_WORDS = 60
SIMILARITY_LEAST = 0.55
SHARED_LEAST = 0.2
"""Least share of a long gold's key terms, those of the question left out, that a right answer says."""
MARKER = re.compile(r"\s*\[\d+\]")
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans({mark: " " for mark in string.punctuation + "“”‘’–—…"})


@dataclass(frozen=True, slots=True)
class Grade:
    """How one answer did."""

    correct: bool
    contains: bool
    """A gold span stands in it, however long it is (short golds), or it counts as right (long golds)."""
    token_f1: float
    """SQuAD's token F1 against the best gold, 0 to 1; 0 where nothing was answered or no gold is given."""
    words: int


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces; citation markers removed."""
    text = MARKER.sub("", text).lower().translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of token precision and recall (Rajpurkar et al., 2016)."""
    told, wanted = normalise(answer).split(), normalise(gold).split()
    shared = sum((Counter(told) & Counter(wanted)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(told), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def grade(row: GoldenRow, answer: Answer, embedder: Embedder) -> Grade:
    """Grade one answer.

    A row that expects declining is right when nothing was answered. A row that takes any answer is right when it was
    answered without leaning on documents. Otherwise an answer must match a gold.
    """
    answered = answer.outcome == "answered"
    words = len(WORD.findall(MARKER.sub("", answer.text))) if answered else 0
    if row.expect == "decline":
        return Grade(not answered, False, 0.0, words)
    if not answered:
        return Grade(False, False, 0.0, 0)
    f1 = max((token_f1(answer.text, gold) for gold in row.answers), default=0.0)
    if row.expect == "any":
        return Grade(not answer.citations, not answer.citations, f1, words)
    contains = any(_matches(answer.text, gold, row.question, embedder) for gold in row.answers)
    return Grade(contains and words <= ANSWER_WORDS_MAX, contains, f1, words)


def is_short(gold: str) -> bool:
    """True for a gold that is matched as a span."""
    return len(normalise(gold).split()) <= SHORT_GOLD_WORDS


def _matches(text: str, gold: str, question: str, embedder: Embedder) -> bool:
    if is_short(gold):
        span = normalise(gold)
        return bool(span) and f" {span} " in f" {normalise(text)} "
    return _agrees(MARKER.sub("", text), gold, question, embedder)


def _agrees(text: str, gold: str, question: str, embedder: Embedder) -> bool:
    """A long gold: the answer says enough of what the gold adds to the question, and is near to a stretch of it."""
    wanted = terms(gold) - terms(question)
    if coverage(wanted, terms(text)) < SHARED_LEAST:
        return False
    vectors = embedder.embed([text, *_windows(gold)])
    return float((vectors[1:] @ vectors[0]).max()) >= SIMILARITY_LEAST


def _windows(text: str) -> Sequence[str]:
    words = text.split()
    step = WINDOW_WORDS // 2
    return [" ".join(words[i : i + WINDOW_WORDS]) for i in range(0, max(1, len(words) - step), step)]
