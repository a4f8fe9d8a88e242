"""Keeps golden rows out of the training set: what is measured with must not be trained on.

Golden rows arrive as texts, or as hashes where their owner does not hand them over; a hash finds equal questions
only, a text nearly equal ones, too. Called by `dataset.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.duplicates import NearTexts, asked, digest
from adapters.errors import BadTrainingSet
from adapters.privacy import mask
from adapters.types import Example

NAMED = 10


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden rows that must not be trained on."""

    questions: Mapping[str, str] = field(default_factory=dict)
    """Question by golden id, for questions that stand alone."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """`question_hash` by golden id."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """An example that asks what a golden row asks."""

    example: str
    golden: str
    near: bool = False
    """True where the wording differs a little."""


def question_hash(question: str, history: Sequence[str] = ()) -> str:
    """What a question is known by: equal for wordings that differ in case, punctuation or personal data.

    Args:
        question: its text.
        history: texts of the turns before; they count where the question is too short to stand alone.
    """
    return digest(_masked(question, history))


def overlaps(examples: Sequence[Example], golden: Golden) -> Iterator[Overlap]:
    """The examples whose question is a golden one."""
    if not golden.questions and not golden.hashes:
        return
    known = {question_hash(text): id for id, text in golden.questions.items()}
    known |= {hash: id for id, hash in golden.hashes.items()}
    near, ids = NearTexts(), list(golden.questions)
    for text in golden.questions.values():
        near.add(_masked(text, ()))
    for example in examples:
        question = _masked(example.question, [turn.text for turn in example.history])
        if (id := known.get(digest(question))) is not None:
            yield Overlap(example.id, id)
        elif found := near.find(question):
            yield Overlap(example.id, ids[found[0]], near=True)


def refuse_overlap(examples: Sequence[Example], golden: Golden) -> None:
    """Refuse examples that ask what a golden row asks.

    Raises:
        BadTrainingSet: names both rows of each pair.
    """
    found = list(overlaps(examples, golden))
    if found:
        named = ", ".join(
            f"{one.example} ({'nearly ' if one.near else ''}golden row {one.golden})" for one in found[:NAMED]
        )
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise BadTrainingSet(
            f"{len(found)} of the rows to train on ask what the golden set asks: {named}{more}. A model that was "
            "trained on its exam proves nothing: take them out of the training rows, or out of the golden set."
        )


def _masked(question: str, history: Sequence[str]) -> str:
    return asked(mask(question)[0], [mask(turn)[0] for turn in history])
