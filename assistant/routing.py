"""The route: which levels will be tried, in order, and why one is skipped. Decides before anything is generated.

Called by the pipeline once retrieval is done. The order is always that of LEVELS; a level may be skipped, never
silently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant import language
from assistant.types import Evidence, Question, Route, Step, TransferLevel

WHO = (
    r"(?:\w+\s+){0,3}?(?:human(?:\s+being)?|person|agent|representative|rep|operator|support\s+(?:staff|team)"
    r"|some(?:one|body)(?:\s+(?:real|else))?|(?<!the\s)assistant)"
)
DONE = r"\s*(?:[.?!,;:)]|please\b|now\b|$)"
ON = (
    r"(?:\s+(?:about|regarding|because|for|here|today|immediately|asap|right|directly|instead|on|in|at|and|or|if)\b"
    rf"|{DONE})"
)
"""What may follow: "talk to an agent about my bill" asks for a person, "talk to the agent API" does not."""
# 98 of the 108 rows of intent contact_human_agent in bitext-support's train split; 3 of 42,000 other public train rows
PERSON = re.compile(
    rf"\b(?:(?:talk|speak|chatt?)(?:ing)?\s+(?:to|with)|contact(?:ing)?|reach(?:ing)?)\s+{WHO}{ON}"
    rf"|\b(?:connect|transfer|put|hand|pass|switch|forward)\s+me(?:\s+(?:through|over|on|to|with))*\s+{WHO}{ON}"
    rf"|(?:^|[.?!,;:]\s*|(?<!do\s)\bi\s+(?:just\s+|really\s+)?)(?:need|want|get\s+me|give\s+me)\s+{WHO}{DONE}"
    r"|^\W*(?:(?:a|an|real|live)\s+)*(?:human|person|agent|representative|operator)(?:\s+please)?\W*$",
    re.I,
)
NOT_THE_ASKER = re.compile(
    r"\b(?:does|did|people|users?|customers?|visitors?|guests?|callers?|they|he|she|who|bots?|am\s+i|was\s+i|are\s+you)\b",
    re.I,
)
"""In the clause before such a wording: somebody else speaks to a person, or the asker wonders whether they do."""
CLAUSE_ENDS = re.compile(r"[.?!,;:\n]")
CLAUSE_CHARACTERS = 200
ASKED_FOR_A_PERSON = "the asker wants a person"
FOR_PEOPLE_ONLY = "the owner keeps this topic for people"


def plan(
    question: Question,
    evidence: Evidence,
    levels: Sequence[TransferLevel],
    person_topics: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> Route:
    """The route of a question: one step per level."""
    nobody = for_a_person(question, person_topics) or _foreign(question, languages)
    return Route(tuple(Step(level.name, nobody or _reason(question, evidence, level)) for level in levels))


def _foreign(question: Question, languages: Sequence[str]) -> str | None:
    """Why no level may answer a question in this language; None where they may, or one was asked for."""
    spoken = language.foreign(question.text, languages) if question.level is None else None
    return f"it is asked in {language.NAMES.get(spoken, spoken)}, which is not answered here" if spoken else None


def for_a_person(question: Question, person_topics: Sequence[str] = ()) -> str | None:
    """Why a person has to answer, whatever a level could say; None where no one has to."""
    if wants_person(question):
        return ASKED_FOR_A_PERSON
    if question.level is not None or not person_topics:
        return None
    said = f" {_words(question.text)} "
    return FOR_PEOPLE_ONLY if any(f" {_words(topic)} " in said for topic in person_topics if _words(topic)) else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def wants_person(question: Question) -> bool:
    """True where the question asks to be handed to a person (and no level is forced)."""
    if question.level is not None:
        return False
    before = (question.text[max(0, m.start() - CLAUSE_CHARACTERS) : m.start()] for m in PERSON.finditer(question.text))
    return any(not NOT_THE_ASKER.search(CLAUSE_ENDS.split(clause)[-1]) for clause in before)


def _reason(question: Question, evidence: Evidence, level: TransferLevel) -> str | None:
    if question.level is not None and question.level != level.name:
        return f"only level {question.level} was asked for"
    return level.skip_reason(question, evidence)
