"""What the assistant's memory hands out: rows as lists and pages show them. Read and made by `traces.py`."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.types import Answer, Level, Outcome


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation as a list shows it."""

    id: str
    title: str
    updated_at: str
    turns: int


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One question of a conversation with its answer; None where it was interrupted."""

    trace_id: str
    question: str
    answer: Answer | None
    feedback: int = 0
    """1 thumbs up, -1 thumbs down, 0 none."""
    number: int = 0
    """Questions of a conversation are ordered by it."""
    asked_at: str = ""


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A question as the console lists it."""

    id: str
    conversation_id: str
    question: str
    status: str
    level: Level | None
    outcome: Outcome | None
    confidence: float | None
    seconds: float | None
    tokens: int
    surface: str
    started_at: str
    feedback: int = 0


@dataclass(frozen=True, slots=True)
class Feedback:
    """A thumb with its reason."""

    value: int
    reason: str
    given_at: str
