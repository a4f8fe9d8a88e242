"""What a training set looks like before anybody spends hours on it: counts, lengths, samples, warnings in words.

Changes nothing and decides nothing. Called by the command line and the console.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from adapters.dataset import TrainingSet
from adapters.duplicates import asked_in, digest, normalised
from adapters.privacy import PLACEHOLDERS
from adapters.rendering import is_preference
from adapters.types import EXPECTS, PARTS, Count, Example, Expect, Part

ROWS_FEW = 100
ROWS_SOME = 500
DECLINES = (0.05, 0.4)
"""Share of rows that teach declining. With half of 1,200 rows unanswerable, the embedded model learned to decline 76 %
of the answerable questions, too; with 12 % of 700 it learned to answer."""
ANSWER_TOKENS_MAX = 200
TIED_MAX = 0.5
SAME_ANSWER = 0.2
SAMPLES = 2
"""Shown of each kind."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of whole rows, prompt and answer."""

    total: int
    median: int
    p95: int
    longest: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A training set at a glance."""

    counts: Mapping[Part, Mapping[Expect, int]]
    preferences: int
    """Rows of the part to train on that are preference pairs, too."""
    facts: int
    left_out: Mapping[str, int]
    masked: Mapping[str, int]
    lengths: Lengths
    samples: tuple[Example, ...]
    warnings: tuple[str, ...]


def preview(data: TrainingSet, tokens_of: Callable[[Example], int], count: Count) -> Preview:
    """Look at a training set.

    Args:
        data: the set.
        tokens_of: tokens of a whole row.
        count: tokens of a text; measures answers.
    """
    counts = {part: _by_kind(data.part(part)) for part in PARTS}
    return Preview(
        counts=counts,
        preferences=sum(is_preference(example) for example in data.train),
        facts=len(data.facts),
        left_out={reason: len(ids) for reason, ids in data.left_out.items() if ids},
        masked=dict(data.masked),
        lengths=_lengths(sorted(tokens_of(example) for example in data.rows)),
        samples=tuple(_samples(data.train)),
        warnings=tuple(_warnings(data, count)),
    )


def _by_kind(examples: Sequence[Example]) -> dict[Expect, int]:
    found = Counter(example.expect for example in examples)
    return {expect: found[expect] for expect in EXPECTS}


def _lengths(tokens: Sequence[int]) -> Lengths:
    if not tokens:
        return Lengths(0, 0, 0, 0)
    return Lengths(
        sum(tokens), round(median(tokens)), tokens[min(len(tokens) - 1, len(tokens) * 95 // 100)], tokens[-1]
    )


def _samples(examples: Sequence[Example]) -> Iterator[Example]:
    """Some of each kind, the same ones every time."""
    for expect in EXPECTS:
        kind = [example for example in examples if example.expect == expect]
        yield from sorted(kind, key=lambda example: digest(example.id))[:SAMPLES]


def _warnings(data: TrainingSet, count: Count) -> Iterator[str]:
    yield from _about_size(data)
    yield from _about_declining(data.train)
    yield from _about_answers(data.train, count)
    if data.facts:
        yield (
            f"{len(data.facts)} rows say numbers, names or addresses that their passages do not. They are not "
            "trained on: a model would learn to make them up. Add them to the knowledge base as question-answer pairs."
        )


def _about_size(data: TrainingSet) -> Iterator[str]:
    rows = len(data.train)
    if rows < ROWS_FEW:
        yield f"{rows} rows will not change anything that could be measured. A few hundred may."
    elif rows < ROWS_SOME:
        yield f"{rows} rows may change how answers sound; for a skill, {ROWS_SOME} or more are usual."
    for part in ("validation", "test"):
        if not data.part(part):
            yield f"No row fell into the {part} part: it can prove nothing. Add rows from other documents."
    if data.tied > TIED_MAX:
        yield (
            f"{data.tied:.0%} of the rows hang together by shared documents and conversations and are all trained on; "
            "the rest may be too little to prove anything."
        )
    shown = _passages(data.train)
    shared = len(shown & _passages((*data.validation, *data.test)))
    if shared:
        yield f"{shared} passages are shown in rows to train on and in held-out rows: those rows are not wholly unseen."


def _about_declining(train: Sequence[Example]) -> Iterator[str]:
    if not train or all(example.expect == "style" for example in train):
        return
    share = sum(example.expect == "decline" for example in train) / len(train)
    if share < DECLINES[0]:
        yield f"{share:.0%} of the rows teach declining: the model may forget how. 10 to 20 % are enough."
    elif share > DECLINES[1]:
        yield f"{share:.0%} of the rows teach declining: the model may learn to do nothing else. 10 to 20 % are enough."


def _about_answers(train: Sequence[Example], count: Count) -> Iterator[str]:
    long = sum(count(example.answer) > ANSWER_TOKENS_MAX for example in train)
    if long:
        yield f"{long} answers have more than {ANSWER_TOKENS_MAX} tokens; one or two short sentences are asked for."
    hollow = sum(any(mark in example.answer for mark in PLACEHOLDERS.values()) for example in train)
    if hollow:
        yield f"{hollow} answers hold a placeholder for personal data; the model may learn to write it. Reword them."
    said = Counter(normalised(example.answer) for example in train if example.expect != "decline")
    if said and (most := max(said.values())) > max(3, SAME_ANSWER * sum(said.values())):
        yield f"{most} rows have the same answer: the model may learn that answer instead of how to answer."
    asked: dict[tuple[str, frozenset[str]], set[str]] = {}
    for example in train:
        key = asked_in(example), frozenset(passage.text for passage in example.passages)
        asked.setdefault(key, set()).add(normalised(example.answer))
    torn = sum(len(answers) > 1 for answers in asked.values())
    if torn:
        yield f"{torn} questions have different answers from the same passages. Decide on one."


def _passages(examples: Sequence[Example]) -> set[str]:
    return {passage.text for example in examples for passage in example.passages}
