"""A conversation as one thread: what was asked and answered, and what people wrote, in the order it happened.

Reads the trace store and the desk; keeps nothing. Called by the pages, the widget and whoever needs a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from assistant.desk import Desk
from assistant.messages import Said
from assistant.stored import StoredTurn
from assistant.traces import TraceStore
from assistant.types import Answer, Turn

Speaker = Literal["visitor", "assistant", "agent", "system", "note"]
HISTORY_ENTRIES = 40
"""What a next question carries along at most, whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing said. `id` is a trace's for a question and its answer, a message's for what people wrote."""

    id: str
    speaker: Speaker
    text: str
    at: str
    author: str = ""
    answer: Answer | None = None
    """The assistant's, with its level and sources; None where it was interrupted, or somebody else speaks."""
    rating: int = 0
    number: int = 0
    """A message's; 0 for what the assistant was asked and said."""


def thread_of(
    traces: TraceStore, desk: Desk, conversation_id: str, *, latest: int | None = None, notes: bool = False
) -> tuple[Entry, ...]:
    """Everything said in a conversation, oldest first.

    Args:
        traces: the assistant's turns.
        desk: people's words.
        conversation_id: which the caller may see.
        latest: at most so many of the assistant's turns.
        notes: with agents' notes, which no visitor may see.
    """
    turns = traces.turns(conversation_id, latest)
    placed = [((turn.number, 0, 0), entries_of_turn(turn)) for turn in turns]
    first = turns[0].number if turns and len(turns) == latest else 0
    for said in desk.messages(conversation_id, notes=notes):
        if said.after >= first:
            placed.append(((said.after, 1, said.number), (entry_of_message(said),)))
    return tuple(entry for _, entries in sorted(placed, key=lambda item: item[0]) for entry in entries)


def history_of(traces: TraceStore, desk: Desk, conversation_id: str) -> tuple[Turn, ...]:
    """What a next question's history is: what the visitor and whoever answered said, oldest first."""
    return as_history(thread_of(traces, desk, conversation_id, latest=HISTORY_ENTRIES // 2))


def as_history(entries: Sequence[Entry]) -> tuple[Turn, ...]:
    """What was said, as a model is told it: the latest, oldest first."""
    turns = []
    for entry in entries:
        if entry.speaker == "visitor":
            turns.append(Turn("user", entry.text))
        elif entry.speaker in ("assistant", "agent") and entry.text:
            turns.append(Turn("assistant", entry.text))
    return tuple(turns[-HISTORY_ENTRIES:])


def entries_of_turn(turn: StoredTurn) -> tuple[Entry, ...]:
    """A question and its answer."""
    asked = Entry(turn.trace_id, "visitor", turn.question, turn.asked_at)
    text = turn.answer.text if turn.answer else ""
    said = Entry(turn.trace_id, "assistant", text, turn.asked_at, answer=turn.answer, rating=turn.feedback)
    return asked, said


def entry_of_message(said: Said) -> Entry:
    """What a person wrote."""
    return Entry(said.id, said.role, said.text, said.made_at, said.author, None, said.rating, said.number)
