"""Examples to a training set: approved, without personal data, without duplicates and facts, split without a leak.

The story in one screen: `build`. Where rows come from is `reading.py` (files, pairs, corrections) and `generate.py`
(documents); how they are shown before training is `preview.py`, how a trainer reads them `rendering.py`. Nothing is
dropped silently: what is left out stands in the result with its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from adapters.duplicates import deduplicate
from adapters.errors import BadTrainingSet
from adapters.facts import style_or_fact
from adapters.overlap import Golden, refuse_overlap
from adapters.privacy import mask_example
from adapters.splits import Shares, split
from adapters.types import PARTS, Example, Part, Room

ROWS_MIN = 8
"""Fewer rows than this are refused: nothing could be learned, and nothing held out to see it."""
NAMED = 10
Reason = Literal["not approved", "no consent", "duplicate", "too long"]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What will be trained on, what is held out, and what is neither."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    facts: tuple[Example, ...]
    """Rows for the knowledge base instead: `facts.as_pairs` writes them."""
    left_out: Mapping[Reason, tuple[str, ...]]
    """Ids of the rows that were left out, by reason."""
    masked: Mapping[str, int]
    """How many values of personal data were masked, by kind."""
    tied: float
    """Share of the rows that hang together by documents and conversations in the largest group, 0 to 1."""

    def part(self, name: Part) -> tuple[Example, ...]:
        """One part by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    @property
    def rows(self) -> tuple[Example, ...]:
        """All three parts."""
        return tuple(example for name in PARTS for example in self.part(name))


def build(
    examples: Sequence[Example], golden: Golden | None = None, room: Room | None = None, shares: Shares | None = None
) -> TrainingSet:
    """Make a training set of examples.

    Args:
        examples: rows of any origin; ids are unique.
        golden: rows of golden sets, none of which may be trained on.
        room: leaves out rows that are longer than the context, where it is given.
        shares: how much is held out.

    Raises:
        BadTrainingSet: an id stands twice, a question or an answer is empty, a golden row is among the rows, or too
            few rows are left; says which, or why.
    """
    check(examples)
    left_out: dict[Reason, tuple[str, ...]] = {}
    allowed = _allowed(examples, left_out)
    refuse_overlap(allowed, golden or Golden())
    masked, counts = _masked(allowed)
    different, same = deduplicate(masked)
    left_out["duplicate"] = _ids(same)
    style, facts = style_or_fact(different)
    long = [example for example in style if room and room.tokens_of(example) > room.tokens_max]
    left_out["too long"] = _ids(long)
    gone = set(left_out["too long"])
    fitting = [example for example in style if example.id not in gone]
    _check_enough(len(fitting), len(examples), len(facts), left_out)
    parts = split(fitting, shares)
    return TrainingSet(parts.train, parts.validation, parts.test, tuple(facts), left_out, counts, parts.largest)


def nothing() -> TrainingSet:
    """A training set without rows: what is known of the data of an adapter from elsewhere."""
    return TrainingSet((), (), (), (), {}, {}, 0.0)


def check(examples: Sequence[Example]) -> None:
    """Refuse rows that no training set may hold.

    Raises:
        BadTrainingSet: an id stands twice, or a question or an answer is empty; names the ids.
    """
    twice = [id for id, number in Counter(example.id for example in examples).items() if number > 1]
    if twice:
        raise BadTrainingSet(f"ids that stand twice: {_named(twice)}. Each row needs an id of its own.")
    empty = [example.id for example in examples if not example.question.strip() or not example.answer.strip()]
    if empty:
        raise BadTrainingSet(f"rows without a question or without an answer: {_named(empty)}. Fill in or remove them.")


def fingerprint(examples: Iterable[Example]) -> str:
    """A hash of all that examples hold, whatever their order: an adapter's card names its data by it."""
    rows = sorted(json.dumps(asdict(example), sort_keys=True) for example in examples)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _allowed(examples: Sequence[Example], left_out: dict[Reason, tuple[str, ...]]) -> list[Example]:
    left_out["not approved"] = _ids(example for example in examples if not example.approved_by)
    left_out["no consent"] = _ids(example for example in examples if example.approved_by and not example.consent)
    return [example for example in examples if example.approved_by and example.consent]


def _masked(examples: Sequence[Example]) -> tuple[list[Example], Counter[str]]:
    total: Counter[str] = Counter()
    masked = []
    for example in examples:
        done, counts = mask_example(example)
        masked.append(done)
        total.update(counts)
    return masked, total


def _check_enough(left: int, given: int, facts: int, left_out: Mapping[Reason, Sequence[str]]) -> None:
    if left < ROWS_MIN:
        why = [f"{len(ids)} {reason}" for reason, ids in left_out.items() if ids]
        why += [f"{facts} hold facts for the knowledge base"] if facts else []
        gone = f" ({', '.join(why)})" if why else ""
        raise BadTrainingSet(
            f"{left} of {given} rows are left to train on{gone}; at least {ROWS_MIN} are needed. Approve or add more."
        )


def _ids(examples: Iterable[Example]) -> tuple[str, ...]:
    return tuple(sorted(example.id for example in examples))


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
