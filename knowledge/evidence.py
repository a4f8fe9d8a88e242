"""The sentences that matter: from the passages found, those that a small model should read or an answer should quote.

A small model drowns in whole paragraphs, and reading the prompt is the dear part on a CPU; the best three sentences
hold most answers (bench/RESULTS.md). Ranks and cuts; never rewrites a sentence. Called by the pipeline right after
retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from knowledge.sentences import PASSAGES_REMEMBERED, quotable
from knowledge.types import Hit, Sentence, Vectors
from knowledge.words import WORD, coverage, terms

PASSAGES_READ = 8
SENTENCES_KEPT = 16
PASSAGE_WEIGHT = 0.45
WORDS_WEIGHT = 0.5
RANK_WEIGHT = 0.02
OWN_SHARE = 0.3
"""Of the words' weight, the part that a follow-up's own words have, beside those of the question that it follows."""
ECHO_COST = 1.0
"""Taken off a sentence that only says the question again, says nothing beyond question, heading and title, or asks."""
ASKS = re.compile(r"\?[\"'”’»)\]*_`\s]*$")
ECHO_WORDS = 3
"""A question of at least this many words that stands in a sentence word for word makes it an echo."""
WORDS_LEAST = 3


@dataclass(frozen=True, slots=True)
class _Unit:
    """What can be quoted of a passage, as it is compared with a question."""

    start: int
    end: int
    text: str
    """Without line breaks."""
    words: str
    """In lower case, one space between them."""
    terms: frozenset[str]
    asks: bool


def pick_sentences(
    queries: Sequence[str], question: Vectors, hits: Sequence[Hit], vectors: Sequence[Vectors]
) -> tuple[Sentence, ...]:
    """Rank the sentences of passages for a question, best first.

    The score adds up: cosine of question and sentence; cosine of question and passage; the share of the question's
    content words in sentence, heading and title; a little for the passage's rank. A sentence that only echoes the
    question or its heading, or asks one itself, loses, since it answers nothing.

    Args:
        queries: the wordings of the question, the most complete first, the question itself last.
        question: unit vector of the first wording, shape (dimension,).
        hits: passages found, best first.
        vectors: for each hit the unit vectors of what can be quoted of it, in the order of `quotable`.
    """
    wanted, own, asked = terms(" ".join(queries)), terms(queries[-1]), _words(queries[0])
    ranked: list[Sentence] = []
    seen: set[str] = set()
    for rank, (hit, rows) in enumerate(zip(hits, vectors, strict=True)):
        passage = hit.passage
        address = terms(f"{passage.title} {passage.heading}")
        base = PASSAGE_WEIGHT * hit.similarity - RANK_WEIGHT * rank
        for unit, similarity in zip(_units(passage.text), (rows @ question).tolist(), strict=True):
            if unit.text.lower() in seen or _count(unit.words) < WORDS_LEAST:
                continue
            seen.add(unit.text.lower())
            told = unit.terms | address
            echoes = (
                unit.terms <= wanted | address or (_count(asked) >= ECHO_WORDS and asked in unit.words) or unit.asks
            )
            covered = (1 - OWN_SHARE) * coverage(wanted, told) + OWN_SHARE * coverage(own, told)
            score = base + similarity + WORDS_WEIGHT * covered - ECHO_COST * echoes
            ranked.append(Sentence(unit.text, passage, unit.start, unit.end, similarity, score))
    return tuple(sorted(ranked, key=lambda sentence: -sentence.score)[:SENTENCES_KEPT])


def within(
    sentences: Sequence[Sentence], *, cost: Callable[[str], int], budget: int, most: int, drop: float = 1.0
) -> tuple[Sentence, ...]:
    """The best sentences under a budget, in reading order: documents by their best sentence, then by position.

    Args:
        sentences: ranked, best first.
        cost: what a text costs (tokens or words).
        budget: at most this much in all; the best sentence is kept whatever it costs.
        most: at most this many sentences.
        drop: a sentence whose score is further than this below the best is left out.
    """
    kept: list[Sentence] = []
    spent = 0
    for sentence in sentences:
        if len(kept) == most or (kept and sentence.score < kept[0].score - drop):
            break
        price = cost(sentence.text)
        if kept and spent + price > budget:
            continue
        if any(_overlap(sentence, other) for other in kept):
            continue
        kept.append(sentence)
        spent += price
    order = {s.passage.document: -i for i, s in reversed(list(enumerate(kept)))}
    return tuple(sorted(kept, key=lambda s: (-order[s.passage.document], s.passage.position, s.start)))


@lru_cache(PASSAGES_REMEMBERED)
def _units(passage: str) -> tuple[_Unit, ...]:
    """In the order of `quotable`."""
    units = []
    for start, end in quotable(passage):
        text = " ".join(passage[start:end].split())
        units.append(_Unit(start, end, text, _words(text), terms(text), bool(ASKS.search(text))))
    return tuple(units)


def _words(text: str) -> str:
    return " ".join(word.lower() for word in WORD.findall(text))


def _count(words: str) -> int:
    return words.count(" ") + 1 if words else 0


def _overlap(one: Sentence, other: Sentence) -> bool:
    return one.passage.id == other.passage.id and one.start < other.end and other.start < one.end
