"""What the chat page shows, turn by turn: questions with their answers, and what people wrote in between.

Formats what is stored; decides and keeps nothing. Called by `page.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from assistant.thread import Entry, thread_of
from ui import present

if TYPE_CHECKING:
    from assistant.build import Rungs

Speaker = Literal["assistant", "visitor", "agent", "system"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One turn as the page shows it: a question and its answer, or one message of a person or the desk."""

    question: str
    """Of the visitor; or what they wrote to a person."""
    climb: tuple[str, ...] = ()
    answer: str = ""
    """HTML out of `present/`."""
    trace_id: str = ""
    """The trace of the answer, or the message."""
    answered: bool = False
    """False where it was stopped or failed: there is nothing to rate then."""
    rated: int = 0
    done: bool = False
    offers: tuple[str, ...] = ()
    """Suggested questions below the answer."""
    speaker: Speaker = "assistant"
    """Whose turn it is; the assistant's has a question and an answer, every other one is one message."""


Turns = tuple[Shown, ...]


def messages(turns: Sequence[Shown]) -> list[dict[str, Any]]:
    """Turns as Gradio's messages."""
    shown: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        last = number == len(turns) - 1
        offers = [{"value": offer, "label": offer} for offer in turn.offers] if last else []
        if turn.speaker in ("assistant", "visitor"):
            shown.append({"role": "user", "content": present.asked(turn.question)})
        if turn.speaker != "visitor":
            content = present.climb_html(turn.climb, turn.done) + turn.answer
            shown.append({"role": "assistant", "content": content, "options": offers})
    return shown


def place_of(turns: Sequence[Shown], index: Any) -> int:
    """Which turn a message of Gradio's belongs to; the number of turns where it belongs to none."""
    wanted = index[0] if isinstance(index, (tuple, list)) else int(index)
    first = 0
    for place, turn in enumerate(turns):
        first += 2 if turn.speaker == "assistant" else 1
        if wanted < first:
            return place
    return len(turns)


def thumbs(turns: Sequence[Shown]) -> list[str | None]:
    """What each of the answers and agents' messages was rated, as Gradio's chat takes it."""
    return [{1: "Like", -1: "Dislike"}.get(turn.rated) for turn in turns if turn.speaker != "visitor"]


def stored(rungs: Rungs, conversation: str) -> Turns:
    """A conversation as it is on disk, whoever spoke."""
    shown: list[Shown] = []
    question = ""
    for entry in thread_of(rungs.traces, rungs.desk, conversation):
        if entry.number:
            shown.append(_said(entry))
        elif entry.speaker == "visitor":
            question = entry.text
        else:
            shown.append(_answered(rungs, question, entry))
    return tuple(shown)


def news(turns: Turns, now: Turns) -> Turns:
    """What is shown, with what was written since; what was shown and is not stored (a refusal) stays."""
    known = {turn.trace_id for turn in turns if turn.trace_id}
    fresh = tuple(turn for turn in now if turn.trace_id not in known)
    return (*turns, *fresh)


def _answered(rungs: Rungs, question: str, entry: Entry) -> Shown:
    if entry.answer is None:
        return Shown(question, (), present.stopped_html(""), entry.id, done=True)
    climb = tuple(present.climb_of(rungs.traces.load(entry.id)))
    return Shown(question, climb, present.answer_html(entry.answer), entry.id, True, entry.rating, True)


def _said(entry: Entry) -> Shown:
    if entry.speaker == "visitor":
        return Shown(entry.text, trace_id=entry.id, done=True, speaker="visitor")
    if entry.speaker == "agent":
        answer = present.agent_html(entry.author, entry.text)
        return Shown("", (), answer, entry.id, True, entry.rating, True, speaker="agent")
    return Shown("", (), present.system_html(entry.text), entry.id, done=True, speaker="system")
