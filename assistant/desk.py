"""The desk: conversations that wait for a person or have one, and what people write in them.

A hand-off waits, is taken by one agent, and is resolved or given back. While an agent has it, the assistant is silent
in that conversation; before and after, it answers. What the assistant and people wrote is one thread. Everything is on
disk before it is shown, and whoever waits is woken by the bulletin. Decides nothing about who may do what: that is
`ui/access/doors.py`. Called by the chat page, the widget and the copilot.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from assistant.bulletin import DESK, Bulletin, conversation_topic
from assistant.errors import AssistantError
from assistant.handing import KINDS, REASONS, Kind, State, open_handoff
from assistant.messages import CHARACTERS_MAX, Author, Said, by_key, said_of, write
from assistant.tables import conversations, handoffs, messages, presence
from knowledge.database import reading, writing
from knowledge.text import clean

PRESENT_SECONDS = 40.0
"""An agent whose page has not been heard of for so long has left."""
TAKEN = "{agent} from support has joined. You are talking to a person now."
GIVEN_BACK = "{agent} has left. The assistant answers again; you can contact support at any time."
RESOLVED = "{agent} has marked this conversation as resolved. The assistant answers again if you write more."


@dataclass(frozen=True, slots=True)
class HandOff:
    """A conversation that waits for a person, has one, or had one."""

    id: str
    conversation_id: str
    kind: Kind
    note: str
    """What the visitor added, in their words."""
    state: State
    agent: str | None
    asked_at: str
    taken_at: str | None
    resolved_at: str | None
    title: str
    surface: str
    site: str
    updated_at: str

    @property
    def reason(self) -> str:
        """The kind in words."""
        return REASONS[self.kind]


@dataclass(frozen=True, slots=True)
class Present:
    """An agent who is there, and the conversation that they look at (empty: none)."""

    agent: str
    conversation_id: str


class Desk:
    """Hand-offs and people's messages in SQL. Safe to use from several threads; the tables are the trace store's."""

    def __init__(self, engine: Engine, bulletin: Bulletin) -> None:
        self._engine = engine
        self.bulletin = bulletin

    # hand-offs

    def hand_off(self, conversation_id: str, kind: Kind, note: str = "") -> HandOff:
        """A conversation waits for a person from now on. One that waits or has one already keeps its place.

        Raises:
            AssistantError: there is no such conversation, or no such kind.
        """
        if kind not in KINDS:
            raise AssistantError(f"{kind!r} is no reason for a hand-off; there are {', '.join(KINDS)}.")
        with writing(self._engine) as connection:
            same = conversations.c.id == clean(conversation_id)
            if connection.scalar(select(conversations.c.number).where(same)) is None:
                raise AssistantError(f"there is no conversation {conversation_id!r} to hand off.")
            id, fresh = open_handoff(connection, conversation_id, kind, note)
            handoff = _one(connection, id)
        self._changed(handoff, "handed_off" if fresh else None)
        return handoff

    def inbox(self, state: State | None = None, agent: str | None = None, limit: int = 200) -> tuple[HandOff, ...]:
        """Hand-offs: who waits longest first, then those in progress, then the latest resolved."""
        rank = case({"waiting": 0, "in_progress": 1}, value=handoffs.c.state, else_=2)
        newest_resolved = case((handoffs.c.state == "resolved", -handoffs.c.number), else_=handoffs.c.number)
        query = _all().order_by(rank, newest_resolved).limit(limit)
        if state:
            query = query.where(handoffs.c.state == state)
        if agent:
            query = query.where(handoffs.c.agent == agent)
        with reading(self._engine) as connection:
            return tuple(_handoff(row) for row in connection.execute(query))

    def counts(self) -> dict[State, int]:
        """How many hand-offs there are in each state."""
        query = select(handoffs.c.state, func.count()).group_by(handoffs.c.state)
        with reading(self._engine) as connection:
            found: Mapping[str, int] = {state: number for state, number in connection.execute(query)}
        return {"waiting": found.get("waiting", 0), "in_progress": found.get("in_progress", 0),
                "resolved": found.get("resolved", 0)}  # fmt: skip

    def find(self, handoff_id: str) -> HandOff:
        """One hand-off.

        Raises:
            AssistantError: there is none.
        """
        with reading(self._engine) as connection:
            return _one(connection, handoff_id)

    def open_of(self, conversation_id: str) -> HandOff | None:
        """The hand-off of a conversation that is not resolved, if there is one."""
        same = (handoffs.c.conversation == clean(conversation_id)) & (handoffs.c.state != "resolved")
        with reading(self._engine) as connection:
            row = connection.execute(_all().where(same)).first()
        return _handoff(row) if row else None

    def take(self, handoff_id: str, agent: str) -> HandOff:
        """An agent takes a conversation over; the visitor is told. Their own again changes nothing.

        Raises:
            AssistantError: another agent has it, or it is resolved.
        """
        with writing(self._engine) as connection:
            before = _one(connection, handoff_id)
            if before.state == "in_progress" and before.agent == agent:
                return before
            mine = {"state": "in_progress", "agent": clean(agent), "taken_at": _now()}
            waiting = (handoffs.c.id == before.id) & (handoffs.c.state == "waiting")
            if not connection.execute(update(handoffs).where(waiting).values(**mine)).rowcount:
                has = f"{before.agent} has it" if before.state == "in_progress" else "it is resolved"
                raise AssistantError(f"this conversation cannot be taken over: {has}.")
            write(connection, before.conversation_id, "system", "", TAKEN.format(agent=agent))
            handoff = _one(connection, handoff_id)
        self._changed(handoff)
        return handoff

    def assign(self, handoff_id: str, to: str, by: str) -> HandOff:
        """Give a conversation to a certain agent, whoever had it.

        Raises:
            AssistantError: it is resolved.
        """
        with writing(self._engine) as connection:
            before = _one(connection, handoff_id)
            if before.state == "resolved":
                raise AssistantError("this conversation is resolved; open it again first.")
            mine = {"state": "in_progress", "agent": clean(to), "taken_at": before.taken_at or _now()}
            connection.execute(update(handoffs).where(handoffs.c.id == before.id).values(**mine))
            if before.agent != to:
                write(connection, before.conversation_id, "system", "", TAKEN.format(agent=to))
                write(connection, before.conversation_id, "note", by, f"Assigned to {to} by {by}.")
            handoff = _one(connection, handoff_id)
        self._changed(handoff)
        return handoff

    def give_back(self, handoff_id: str, agent: str) -> HandOff:
        """The assistant goes on; nobody waits for a person any more.

        Raises:
            AssistantError: the agent does not have it.
        """
        return self._close(handoff_id, agent, GIVEN_BACK)

    def resolve(self, handoff_id: str, agent: str) -> HandOff:
        """Done. The visitor is told.

        Raises:
            AssistantError: another agent has it.
        """
        return self._close(handoff_id, agent, RESOLVED)

    # messages

    def say(
        self, conversation_id: str, role: Author, author: str, text: str, *, draft: str | None = None, once: str = ""
    ) -> Said:
        """Write into a conversation; on disk when this returns.

        Args:
            conversation_id: which the caller has made sure of.
            role: who writes.
            author: an agent's name; empty for a visitor.
            text: plain text, never markup.
            draft: the trace of the assistant's draft that an agent's message was made from.
            once: a key of the sender's; the same key again is the same message (a double click, a retry).

        Raises:
            AssistantError: the text is empty or too long, there is no such conversation, or an agent writes into one
                that another agent has.
        """
        text = clean(text).strip()
        if not text:
            raise AssistantError("a message needs a text.")
        if len(text) > CHARACTERS_MAX:
            raise AssistantError(f"a message has at most {CHARACTERS_MAX:,} characters; this has {len(text):,}.")
        try:
            with writing(self._engine) as connection:
                earlier = by_key(connection, conversation_id, once)
                if earlier:
                    return earlier
                if role == "agent":
                    _check_agent(connection, conversation_id, author)
                said = write(connection, conversation_id, role, author, text, draft, once)
        except IntegrityError as error:  # the same key at the same moment, or no such conversation
            with reading(self._engine) as connection:
                earlier = by_key(connection, conversation_id, once)
            if earlier is None:
                raise AssistantError(f"there is no conversation {conversation_id!r}.") from error
            return earlier
        self.bulletin.publish(conversation_topic(said.conversation_id), DESK)
        return said

    def messages(self, conversation_id: str, after: int = 0, notes: bool = False) -> tuple[Said, ...]:
        """What people wrote in a conversation, in order, from the one after number `after` on.

        Args:
            conversation_id: of which.
            after: a message's number.
            notes: with agents' notes, which no visitor may see.
        """
        same = (messages.c.conversation == clean(conversation_id)) & (messages.c.number > after)
        query = select(messages).where(same).order_by(messages.c.number)
        if not notes:
            query = query.where(messages.c.role != "note")
        with reading(self._engine) as connection:
            return tuple(said_of(row) for row in connection.execute(query))

    def rate(self, conversation_id: str, message_id: str, value: Literal[1, -1], reason: str = "") -> None:
        """A visitor says whether an agent's message helped.

        Raises:
            AssistantError: there is no such message of an agent in that conversation.
        """
        same = (messages.c.conversation == clean(conversation_id)) & (messages.c.id == clean(message_id))
        rated = {"rating": value, "rating_reason": clean(reason)[:2000]}
        with writing(self._engine) as connection:
            done = connection.execute(update(messages).where(same, messages.c.role == "agent").values(**rated))
            if not done.rowcount:
                raise AssistantError(f"there is no message {message_id!r} of a person here to rate.")
        self.bulletin.publish(conversation_topic(conversation_id), DESK)

    # presence

    def here(self, agent: str, conversation_id: str = "") -> None:
        """An agent's page is open and looks at this conversation."""
        row = {"agent": clean(agent), "conversation": clean(conversation_id), "seen": time.time()}
        with writing(self._engine) as connection:
            same = presence.c.agent == row["agent"]
            if not connection.execute(update(presence).where(same).values(**row)).rowcount:
                connection.execute(insert(presence), row)

    def present(self) -> tuple[Present, ...]:
        """Who is there now."""
        query = select(presence.c.agent, presence.c.conversation).order_by(presence.c.agent)
        with reading(self._engine) as connection:
            rows = connection.execute(query.where(presence.c.seen > time.time() - PRESENT_SECONDS)).all()
        return tuple(Present(*row) for row in rows)

    # parts

    def _close(self, handoff_id: str, agent: str, told: str) -> HandOff:
        with writing(self._engine) as connection:
            before = _one(connection, handoff_id)
            if before.state == "resolved":
                return before
            if before.agent not in (None, agent):
                raise AssistantError(f"{before.agent} has this conversation; take it over first.")
            done = {"state": "resolved", "agent": clean(agent), "resolved_at": _now()}
            connection.execute(update(handoffs).where(handoffs.c.id == before.id).values(**done))
            write(connection, before.conversation_id, "system", "", told.format(agent=agent))
            handoff = _one(connection, handoff_id)
        self._changed(handoff, "resolved")
        return handoff

    def _changed(self, handoff: HandOff, event: str | None = None) -> None:
        self.bulletin.publish(DESK, conversation_topic(handoff.conversation_id))
        if event:
            about = {"conversation_id": handoff.conversation_id, "kind": handoff.kind, "agent": handoff.agent}
            self.bulletin.tell(event, {"handoff_id": handoff.id, **about})


def _check_agent(connection: Connection, conversation_id: str, agent: str) -> None:
    same = (handoffs.c.conversation == clean(conversation_id)) & (handoffs.c.state == "in_progress")
    has = connection.scalar(select(handoffs.c.agent).where(same))
    if has != clean(agent):
        raise AssistantError(f"{has} has this conversation." if has else "take the conversation over before you write.")


def _all() -> Select[Any]:
    return select(
        handoffs,
        conversations.c.title,
        conversations.c.surface,
        conversations.c.site,
        conversations.c.updated_at,
    ).join(conversations, conversations.c.id == handoffs.c.conversation)


def _one(connection: Connection, handoff_id: str) -> HandOff:
    row = connection.execute(_all().where(handoffs.c.id == clean(handoff_id))).first()
    if row is None:
        raise AssistantError(f"there is no hand-off {handoff_id!r}.")
    return _handoff(row)


def _handoff(row: Row[Any]) -> HandOff:
    return HandOff(
        row.id, row.conversation, row.kind, row.note, row.state, row.agent, row.asked_at, row.taken_at,
        row.resolved_at, row.title, row.surface, row.site, row.updated_at,
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
