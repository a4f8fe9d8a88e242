"""Examples into train, validation and test, so that no document, conversation or question stands in two of them.

Rows that share one of these are tied together, ties of ties too, and each such group goes where a hash of its
strongest key says. The same rows therefore always fall the same way, and rows that are added move none of the others,
unless they tie two groups into one. A group with more than half of all rows is trained on, whatever its hash says.
Called by `dataset.py`; `generate.py` asks it where a document will fall.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.duplicates import asked_in, digest, normalised
from adapters.types import Example, Part, Passage

Key = tuple[int, str]
"""Strength (0 document, 1 conversation, 2 question) and name."""
_LONG_WORD = re.compile(r"\w{4,}")


@dataclass(frozen=True, slots=True)
class Shares:
    """Which share of the groups is held out."""

    validation: float = 0.1
    test: float = 0.1


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, each in the order of the rows given."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    largest: float
    """Share of the rows that are tied together in the largest group."""


def split(examples: Sequence[Example], shares: Shares | None = None) -> Split:
    """Split examples by document, conversation and question."""
    shares = shares or Shares()
    groups = _groups([keys(example) for example in examples])
    sizes = Counter(groups)
    half = len(examples) / 2
    parts: dict[Part, list[Example]] = {"train": [], "validation": [], "test": []}
    for example, group in zip(examples, groups, strict=True):
        parts["train" if sizes[group] > half else _part(group, shares)].append(example)
    largest = max(sizes.values(), default=0) / max(1, len(examples))
    return Split(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), largest)


def part_of_document(document: str, shares: Shares | None = None) -> Part:
    """Where the rows of a document fall as long as nothing ties it to another one."""
    return _part((0, f"document {document}"), shares or Shares())


def keys(example: Example) -> list[Key]:
    """What ties an example to others: its document or passage, its conversation, its question."""
    found = [(2, digest(asked_in(example)))]
    if example.conversation:
        found.append((1, example.conversation))
    gold = None if example.document else _gold(example)
    if example.document or (gold and gold.document):
        found.append((0, f"document {example.document or (gold.document if gold else '')}"))
    elif gold:
        found.append((0, f"passage {digest(normalised(gold.text))}"))
    return found


def _gold(example: Example) -> Passage | None:
    """The passage that shares most words with question and answer: the others are there to distract."""
    wanted = set(_LONG_WORD.findall(f"{example.question} {example.answer}".lower()))
    shared = [len(wanted & set(_LONG_WORD.findall(passage.text.lower()))) for passage in example.passages]
    return example.passages[shared.index(max(shared))] if shared else None


def _groups(rows: Sequence[Sequence[Key]]) -> list[Key]:
    """For each row, the key that names its connected component: a document before the rest, then the smallest hash."""
    above: dict[Key, Key] = {}

    def top(key: Key) -> Key:
        above.setdefault(key, key)
        while above[key] != key:
            above[key] = above[above[key]]
            key = above[key]
        return key

    for row in rows:
        first = top(row[0])
        for key in row[1:]:
            one, other = sorted((first, top(key)), key=_rank)
            above[other] = first = one
    return [top(row[0]) for row in rows]


def _rank(key: Key) -> tuple[int, str]:
    return key[0], digest(f"rank {key}")


def _part(key: Key, shares: Shares) -> Part:
    place = int(digest(f"part {key}")[:13], 16) / 16**13
    if place < shares.test:
        return "test"
    return "validation" if place < shares.test + shares.validation else "train"
