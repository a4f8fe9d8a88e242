"""Every question in SQL: conversations, traces, feedback.

A question's row is on disk before its first word is shown and closed when its answer is; what a crash left open is
closed as interrupted at the next start. Keeps and finds; decides nothing. Called by the pipeline and the pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Select, func, insert, or_, select, update

from assistant import once as asking
from assistant.bulletin import DESK, Bulletin, conversation_topic
from assistant.errors import AssistantError
from assistant.handing import kind_of, open_handoff
from assistant.processes import close_dead
from assistant.stored import ConversationSummary, Feedback, StoredTurn, TraceSummary
from assistant.tables import attempts, conversations, feedback, questions
from assistant.trace_json import dump_trace, parse_answer, parse_trace
from assistant.trace_rows import read_record, summary_of, thumbs_of
from assistant.types import DRAFTING, Question, Trace, Turn
from knowledge.database import migrate, reading, writing
from knowledge.text import clean

__all__ = ["DRAFTING", "ConversationSummary", "Feedback", "StoredTurn", "TraceStore", "TraceSummary"]

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version_assistant"
TITLE_CHARACTERS = 80
REASON_CHARACTERS = 2000
HISTORY_QUESTIONS = 20
"""Earlier questions that a next one carries along: more than any level reads, and a bound on every record's size."""


class TraceStore:
    """The assistant's memory in SQL. Safe to use from several threads."""

    def __init__(self, engine: Engine, bulletin: Bulletin | None = None, process: str = "") -> None:
        """Bring the tables up to date.

        Args:
            engine: from `open_engine`.
            bulletin: told of what changes; one that nobody waits on if None.
            process: which of those over one database this is; see `processes.py`.

        Raises:
            KnowledgeError: the database cannot be used.
        """
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self._engine = self.engine = engine
        self._process = process
        self._bulletin = bulletin or Bulletin()

    # conversations

    def open_conversation(
        self, visitor: str, surface: str, conversation_id: str | None = None, site: str = "", once: str = ""
    ) -> str:
        """A new conversation of a visitor, or one of theirs to go on with; the same key again opens no second one.

        Raises:
            AssistantError: there is no such conversation of this visitor.
        """
        if conversation_id is not None:
            with reading(self._engine) as connection:
                owner = connection.scalar(_owner(conversation_id))
            if owner != clean(visitor):
                raise AssistantError(f"there is no conversation {conversation_id!r} of yours. Start a new one.")
            return conversation_id
        fresh = asking.conversation_id(visitor, once)
        with writing(self._engine) as connection:
            if not (once and asking.is_open(connection, fresh)):
                _new_conversation(connection, fresh, visitor, surface, site)
        return fresh

    def conversations(self, visitor: str) -> tuple[ConversationSummary, ...]:
        """A visitor's conversations that hold a question, the latest first."""
        latest = func.max(questions.c.number)
        query = (
            select(conversations.c.id, conversations.c.title, conversations.c.updated_at, func.count())
            .join(questions, questions.c.conversation == conversations.c.id)
            .where(conversations.c.visitor == clean(visitor), ~questions.c.superseded, _SHOWN)
            .group_by(conversations.c.id, conversations.c.title, conversations.c.updated_at)
            .order_by(latest.desc())
        )
        with reading(self._engine) as connection:
            return tuple(ConversationSummary(*row) for row in connection.execute(query))

    def turns(self, conversation_id: str, latest: int | None = None) -> tuple[StoredTurn, ...]:
        """The turns of a conversation in order, without superseded ones; `latest` leaves the older ones out."""
        query = (
            select(questions.c.id, questions.c.text, questions.c.record, questions.c.number, questions.c.started_at)
            .where(questions.c.conversation == clean(conversation_id), ~questions.c.superseded, _SHOWN)
            .order_by(questions.c.number.desc())
            .limit(latest)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
            thumbs = thumbs_of(connection, query)
        return tuple(
            StoredTurn(
                row.id,
                row.text,
                read_record(parse_answer, row) if row.record else None,
                thumbs.get(row.id, 0),
                row.number,
                row.started_at,
            )
            for row in reversed(rows)
        )

    def history(self, conversation_id: str) -> tuple[Turn, ...]:
        """What a next question's history is: the latest answered turns, oldest first."""
        query = (
            select(questions.c.text, questions.c.answer)
            .where(questions.c.conversation == clean(conversation_id), ~questions.c.superseded, _SHOWN)
            .where(questions.c.answer.is_not(None))
            .order_by(questions.c.number.desc())
            .limit(HISTORY_QUESTIONS)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return tuple(
            turn for asked, answer in reversed(rows) for turn in (Turn("user", asked), Turn("assistant", answer))
        )

    def supersede(self, conversation_id: str, trace_id: str) -> None:
        """A retry or an edit: this turn and later ones leave the conversation; their records stay."""
        within = questions.c.conversation == clean(conversation_id)
        with writing(self._engine) as connection:
            first = connection.scalar(select(questions.c.number).where(questions.c.id == clean(trace_id), within))
            if first is None:  # of another conversation, or of none
                return
            later = update(questions).where(within, questions.c.number >= first)
            connection.execute(later.values(superseded=True))

    def asked(self, visitor: str) -> frozenset[str]:
        """The texts of all questions that a visitor asked."""
        query = (
            select(questions.c.text)
            .join(conversations, questions.c.conversation == conversations.c.id)
            .where(conversations.c.visitor == clean(visitor))
        )
        with reading(self._engine) as connection:
            return frozenset(connection.scalars(query))

    # traces

    def begin(self, question: Question, versions: Mapping[str, str]) -> str:
        """Record that a question was asked; when this returns the row is on disk.

        Returns:
            The trace's id.

        Raises:
            AskedBefore: the same question by its key; nothing is recorded.
        """
        text, conversation, now = clean(question.text), clean(question.conversation_id), _now()
        with writing(self._engine) as connection:
            trace_id = asking.trace_id(connection, conversation, question.once)
            if connection.scalar(_owner(conversation)) is None:
                _new_conversation(connection, conversation, question.surface, question.surface)
            row = {
                "id": trace_id,
                "conversation": conversation,
                "text": text,
                "surface": clean(question.surface),
                "status": "started",
                "superseded": False,
                "versions": json.dumps(dict(versions)),
                "started_at": now,
                "process": self._process or None,
            }
            connection.execute(insert(questions), row)
            same = conversations.c.id == conversation
            connection.execute(update(conversations).where(same).values(updated_at=now))
            untitled = same & (conversations.c.title == "")
            connection.execute(update(conversations).where(untitled).values(title=text[:TITLE_CHARACTERS]))
        self._bulletin.publish(conversation_topic(conversation))
        return trace_id

    def finish(self, trace: Trace) -> None:
        """Close a question's row with everything that happened.

        Raises:
            AssistantError: no such question is open.
        """
        drafts = [attempt.draft for attempt in trace.attempts if attempt.draft]
        closed = {
            "status": "finished",
            "level": trace.answer.level,
            "outcome": trace.answer.outcome,
            "confidence": trace.answer.confidence,
            "seconds": trace.seconds,
            "tokens_in": sum(draft.tokens_in for draft in drafts),
            "tokens_out": sum(draft.tokens_out for draft in drafts),
            "answer": clean(trace.answer.text),
            "record": dump_trace(trace),
        }
        tried = [
            {
                "question": trace.id,
                "level": attempt.level,
                "accepted": attempt.accepted,
                "skipped_because": attempt.skipped_because and clean(attempt.skipped_because),
                "failure": attempt.failure and clean(attempt.failure),
                "confidence": attempt.confidence,
                "threshold": attempt.threshold,
                "seconds": attempt.seconds,
                "tokens_in": attempt.draft.tokens_in if attempt.draft else None,
                "tokens_out": attempt.draft.tokens_out if attempt.draft else None,
            }
            for attempt in trace.attempts
        ]
        with writing(self._engine) as connection:
            same = questions.c.id == trace.id
            if not connection.execute(update(questions).where(same, _OPEN).values(**closed)).rowcount:
                raise AssistantError(f"trace {trace.id!r} cannot be closed: no such question is open.")
            if tried:
                connection.execute(insert(attempts), tried)
            handoff, fresh = None, False
            if trace.answer.outcome == "handed_off":
                conversation = connection.scalar(select(questions.c.conversation).where(same)) or ""
                handoff, fresh = open_handoff(connection, conversation, kind_of(trace))
        self._finished(trace, handoff if fresh else None)

    def _finished(self, trace: Trace, handoff: str | None) -> None:
        conversation = trace.question.conversation_id
        self._bulletin.publish(conversation_topic(conversation), *([DESK] if handoff else []))
        if handoff:
            about = {"conversation_id": conversation, "kind": kind_of(trace), "agent": None}
            self._bulletin.tell("handed_off", {"handoff_id": handoff, **about})
        self._bulletin.tell("answered", {"trace": trace})

    def interrupted(self, trace_id: str, reason: str) -> None:
        """Close a question's row without an answer; one that is closed already stays as it is."""
        with writing(self._engine) as connection:
            closed = connection.execute(
                update(questions)
                .where(questions.c.id == trace_id, _OPEN)
                .values(status="interrupted", reason=clean(reason)[:REASON_CHARACTERS])
            )
        if closed.rowcount:
            self._bulletin.tell("interrupted", {"trace_id": trace_id})

    def is_open(self, trace_id: str) -> bool:
        """Whether a question is still being answered."""
        with reading(self._engine) as connection:
            return connection.scalar(select(questions.c.id).where(questions.c.id == clean(trace_id), _OPEN)) is not None

    def close_open(self) -> int:
        """At a start: rows that a crash left open become interrupted. Returns how many."""
        return close_dead(self._engine, self._process, starting=True)

    def find(
        self,
        *,
        level: str | None = None,
        outcome: str | None = None,
        surface: str | None = None,
        text: str = "",
        confidence_max: float | None = None,
        since: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[TraceSummary, ...]:
        """Questions, the latest first; `outcome` may also be `interrupted`; `since` is ISO 8601."""
        query = select(questions).order_by(questions.c.number.desc()).limit(limit).offset(offset)
        if level:
            query = query.where(questions.c.level == level)
        if outcome == "interrupted":
            query = query.where(questions.c.status == "interrupted")
        elif outcome:
            query = query.where(questions.c.outcome == outcome)
        if surface:
            query = query.where(questions.c.surface == surface)
        if text.strip():
            wanted = clean(text).strip()  # SQLite lowers ASCII alone: other letters match as they are written, too
            folded = func.lower(questions.c.text).contains(wanted.lower(), autoescape=True)
            query = query.where(or_(folded, questions.c.text.contains(wanted, autoescape=True)))
        if confidence_max is not None:
            query = query.where(questions.c.confidence <= confidence_max)
        if since:
            query = query.where(questions.c.started_at >= since)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
            thumbs = thumbs_of(connection, query)
        return tuple(summary_of(row, thumbs.get(row.id, 0)) for row in rows)

    def surfaces(self) -> tuple[str, ...]:
        """Where questions came from, by name."""
        with reading(self._engine) as connection:
            return tuple(connection.scalars(select(questions.c.surface).distinct().order_by(questions.c.surface)))

    def load(self, trace_id: str) -> Trace:
        """One trace at full depth.

        Raises:
            AssistantError: there is none, it is damaged, or it was interrupted before there was anything to record.
        """
        with reading(self._engine) as connection:
            row = connection.execute(_by_id(trace_id)).first()
        if row is None:
            raise AssistantError(f"there is no trace {trace_id!r}.")
        if not row.record:
            raise AssistantError(f"trace {trace_id!r} was {row.status}: {row.reason or 'the answer is being written'}.")
        return read_record(parse_trace, row)

    def shares(self, since: str | None = None) -> dict[str, int]:
        """How many questions each level answered, and how many were abstained, handed_off or interrupted."""
        query = select(questions.c.level, questions.c.outcome, questions.c.status, func.count()).group_by(
            questions.c.level, questions.c.outcome, questions.c.status
        )
        if since:
            query = query.where(questions.c.started_at >= since)
        counts: dict[str, int] = {}
        with reading(self._engine) as connection:
            for level, outcome, status, count in connection.execute(query):
                name = status if status == "interrupted" else level or outcome or status
                counts[name] = counts.get(name, 0) + count
        return counts

    # what people say of it

    def add_feedback(self, trace_id: str, value: Literal[1, -1], reason: str = "") -> None:
        """Keep a thumb; the latest of a question counts.

        Raises:
            AssistantError: there is no such trace.
        """
        row = {
            "question": trace_id,
            "value": int(value),
            "reason": clean(reason)[:REASON_CHARACTERS],
            "given_at": _now(),
        }
        with writing(self._engine) as connection:
            conversation = connection.scalar(select(questions.c.conversation).where(questions.c.id == clean(trace_id)))
            if conversation is None:
                raise AssistantError(f"there is no trace {trace_id!r}.")
            connection.execute(insert(feedback), row)
        self._bulletin.tell("feedback", {"trace_id": trace_id, "conversation_id": conversation, "value": int(value)})

    def feedback(self, trace_id: str) -> tuple[Feedback, ...]:
        """Every thumb of a question, in order."""
        query = select(feedback.c.value, feedback.c.reason, feedback.c.given_at).order_by(feedback.c.number)
        with reading(self._engine) as connection:
            return tuple(Feedback(*row) for row in connection.execute(query.where(feedback.c.question == trace_id)))


_OPEN = questions.c.status == "started"
_SHOWN = questions.c.surface != DRAFTING


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _owner(conversation_id: str) -> Select[tuple[Any]]:
    return select(conversations.c.visitor).where(conversations.c.id == clean(conversation_id))


def _by_id(trace_id: str) -> Select[tuple[Any, ...]]:
    return select(questions).where(questions.c.id == clean(trace_id))


def _new_conversation(connection: Connection, conversation_id: str, visitor: str, surface: str, site: str = "") -> None:
    row = {
        "id": conversation_id,
        "visitor": clean(visitor),
        "surface": clean(surface),
        "title": "",
        "site": clean(site),
    }
    connection.execute(insert(conversations), row | {"started_at": _now(), "updated_at": _now()})
