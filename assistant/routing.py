"""The route: which levels will be tried, in order, and why one is skipped. Decides before anything is generated.

Called by the pipeline once retrieval is done. The order is always that of LEVELS; a level may be skipped, never
silently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.types import Evidence, Question, Route, Step, TransferLevel

PERSON = re.compile(
    r"\b(talk|speak|chat|connect|transfer|put|hand)\b[^.?!]{0,30}\b"
    r"(human|person|agent|someone real|representative|operator|somebody real|support staff)\b",
    re.I,
)
ASKED_FOR_A_PERSON = "the asker wants a person"


def plan(question: Question, evidence: Evidence, levels: Sequence[TransferLevel]) -> Route:
    """The route of a question: one step per level."""
    return Route(tuple(Step(level.name, _reason(question, evidence, level)) for level in levels))


def wants_person(question: Question) -> bool:
    """True where the question asks to be handed to a person (and no level is forced)."""
    return question.level is None and bool(PERSON.search(question.text))


def _reason(question: Question, evidence: Evidence, level: TransferLevel) -> str | None:
    if question.level is not None and question.level != level.name:
        return f"only level {question.level} was asked for"
    if wants_person(question):
        return ASKED_FOR_A_PERSON
    return level.skip_reason(question, evidence)
