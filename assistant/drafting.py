"""Drafts for agents: what the cascade would answer to the visitor's last message, with all that speaks against it.

A draft is a question like any other, on a surface of its own: it is recorded in the visitor's conversation, which no
visitor sees, and never hands off. What was not sure enough is shown as well, and says so. Called by the copilot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.corrections import draft_of
from assistant.desk import Desk, HandOff
from assistant.handing import SUMMARY_TURNS, summary
from assistant.routing import wants_person
from assistant.sources import is_internal
from assistant.thread import HISTORY_ENTRIES, Entry, as_history, thread_of
from assistant.traces import TraceStore
from assistant.types import DRAFTING, Attempt, Citation, Level, Question, Trace

REPORTED = ("wrong", "outdated", "unsafe", "off-topic", "tone")
"""What an agent can report an answer for."""
_MARKER = re.compile(r"\s*\[\d{1,2}\]")


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """What an agent may send, and what to know before."""

    trace_id: str
    text: str
    """Ready to be sent: without numbers of citations. Empty where no level wrote anything."""
    level: Level | None
    accepted: bool
    """Whether a visitor would have been shown it."""
    confidence: float | None
    citations: tuple[Citation, ...]
    warnings: tuple[str, ...]


def to_answer(entries: Sequence[Entry]) -> Entry | None:
    """The visitor's message that a draft would answer: the last, but for those that only ask for a person."""
    asked = [entry for entry in entries if entry.speaker == "visitor"]
    telling = [entry for entry in asked if not wants_person(Question(entry.text, ""))]
    return telling[-1] if telling else asked[-1] if asked else None


def unanswered(entries: Sequence[Entry]) -> Entry | None:
    """The same, where nobody has answered the visitor's last message; an answer that they did not like is none."""
    for entry in reversed(entries):
        if entry.speaker == "visitor":
            return to_answer(entries)
        if entry.speaker == "agent" or (entry.speaker == "assistant" and _helped(entry)):
            return None
    return None


def _helped(entry: Entry) -> bool:
    return entry.answer is not None and entry.answer.outcome == "answered" and entry.rating >= 0


def question_of(traces: TraceStore, desk: Desk, handoff: HandOff, asked: Entry, level: Level | None = None) -> Question:
    """The question that a draft answers, with what was said before it.

    Args:
        traces: the assistant's turns.
        desk: people's words.
        handoff: of which conversation.
        asked: the visitor's message, out of `to_answer`.
        level: where one is to be tried; None is the cascade.
    """
    entries = thread_of(traces, desk, handoff.conversation_id, latest=HISTORY_ENTRIES // 2)
    before = entries[: next((n for n, entry in enumerate(entries) if _same(entry, asked)), len(entries))]
    return Question(asked.text, handoff.conversation_id, as_history(before), DRAFTING, level, handoff.site)


def agent_draft(trace: Trace, internal: Sequence[str] = ()) -> AgentDraft:
    """A closed trace as a draft.

    Args:
        trace: of a question out of `question_of`.
        internal: the setting `internal_sources`.
    """
    text = draft_of(trace)
    attempt = _attempt(trace)
    citations = attempt.draft.citations if attempt and attempt.draft else trace.answer.citations
    told = _MARKER.sub("", text).strip()
    warnings = tuple(_warnings(trace, attempt, told, citations, internal))
    return AgentDraft(
        trace.id,
        told,
        attempt.level if attempt else None,
        bool(attempt and attempt.accepted),
        attempt.confidence if attempt else None,
        citations,
        warnings,
    )


def tried(traces: TraceStore, handoff: HandOff) -> str:
    """A conversation in a few lines: the visitor's note, what was asked, what was tried."""
    turns = traces.turns(handoff.conversation_id, SUMMARY_TURNS)
    return summary([traces.load(turn.trace_id) for turn in turns if turn.answer], handoff.note)


def _attempt(trace: Trace) -> Attempt | None:
    """The attempt whose draft `draft_of` gives."""
    if trace.answer.outcome == "answered":
        return next((attempt for attempt in trace.attempts if attempt.accepted), None)
    written = [attempt for attempt in trace.attempts if attempt.draft and attempt.draft.text.strip()]
    return written[-1] if written else None


def _warnings(
    trace: Trace, attempt: Attempt | None, text: str, citations: Sequence[Citation], internal: Sequence[str]
) -> list[str]:
    told = []
    if not text:
        told.append("No draft: nothing was written that could be shown. Answer in your own words.")
    elif attempt is not None and not attempt.accepted:
        told.append(_held_back(attempt))
    secret = dict.fromkeys(c.title or c.document for c in citations if is_internal(c.source, internal))
    told += [f"This source is internal: {title}. Do not quote it to the visitor." for title in secret]
    if text and not citations:
        told.append("No source: nothing that is known supports this draft.")
    if trace.evidence.degraded:
        told.append(f"The search did not work fully: {trace.evidence.degraded}")
    told += [f"Level {a.level} failed: {a.failure}" for a in trace.attempts if a.failure]
    forced = trace.question.level
    told += [
        f"Level {a.level}: {a.skipped_because}." for a in trace.attempts if a.skipped_because and a.level == forced
    ]
    return told


def _held_back(attempt: Attempt) -> str:
    if attempt.held_back_because:
        return f"Held back: {attempt.held_back_because}."
    if attempt.confidence is None:
        return "Not sure enough: held back, since nobody can say how sure it is."
    needed = "" if attempt.threshold is None else f" ({attempt.threshold:.0%} is needed)"
    return f"Not sure enough: held back at {attempt.confidence:.0%}{needed}."


def _same(one: Entry, other: Entry) -> bool:
    return one.id == other.id and one.speaker == other.speaker
