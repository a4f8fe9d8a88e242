"""A follow-up understood in its conversation: which wordings to search for, and what a model must be told.

Decides by words alone (no model call), so that it costs microseconds and is the same for every model. Called by the
pipeline before retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.types import Question, Turn
from knowledge.words import WORD, terms

REFERRING = frozenset(
    "it its it's that that's this these those they them their theirs he she him her there then one ones both "
    "either neither same former latter such other others another again instead too also else so".split()
)
OPENERS = re.compile(r"^\s*(and|or|but|what about|how about|what if|why( not)?\s*\??$|then|so|ok(ay)?\b|also)\b", re.I)
TURNS_READ = 4
TOLD_WORDS = 40


def leans_on_history(text: str) -> bool:
    """True where a question is likely to need its conversation to be understood.

    It opens like a continuation ("and…", "what about…"), refers to something said ("it", "those"), or is too short
    to name a subject.
    """
    words = [word.lower() for word in WORD.findall(text)]
    return bool(OPENERS.match(text)) or any(word in REFERRING for word in words) or len(terms(text)) < 2


def wordings(question: Question) -> tuple[str, ...]:
    """How a question can be read, the most complete wording first, the question itself last.

    One that stands alone is read as it is; one that leans on its history, together with the question it follows.
    """
    asked = [turn.text for turn in question.history if turn.role == "user"]
    if not asked or not leans_on_history(question.text):
        return (question.text,)
    subject = _subject(asked)
    return (f"{subject} {question.text}", question.text)


def searched(question: Question) -> tuple[str, ...]:
    """The wordings to search for: as it can be read and, for a follow-up, with what was last answered."""
    read = wordings(question)
    told = next((turn.text for turn in reversed(question.history) if turn.role == "assistant"), "")
    if len(read) == 1 or not told:
        return read
    return (*read, f"{' '.join(told.split()[:TOLD_WORDS])} {question.text}")


def recent(history: Sequence[Turn], characters_max: int = 1200) -> tuple[Turn, ...]:
    """The last turns that a prompt carries: at most `TURNS_READ`, cut to `characters_max` from the newest back."""
    kept: list[Turn] = []
    for turn in reversed(history[-TURNS_READ:]):
        characters_max -= len(turn.text)
        if characters_max < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))


def _subject(asked: Sequence[str]) -> str:
    """The latest earlier question that names something by itself, with the ones after it."""
    for back, text in enumerate(reversed(asked), start=1):
        if not leans_on_history(text) or back == len(asked):
            return " ".join(asked[-back:])[-600:]
    return ""
