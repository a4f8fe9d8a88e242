"""Erases what people wrote, so that it is in no table, no free page and no log of the database; keeps by age.

A conversation goes with everything that hangs on it: questions, traces, thumbs, hand-offs, messages, corrections,
attachments. What stays is a tombstone: when, how much, and a hash of whose, so that a restored backup can be erased
again. Does not reach backups, nor what a database server archives elsewhere. Called by the chat page, the commands and
the server's keeper of ages.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from assistant.errors import AssistantError
from assistant.tables import conversations, corrections, erasures, handoffs, questions
from knowledge.database import is_sqlite, reading, writing
from knowledge.errors import KnowledgeError
from knowledge.text import clean

log = logging.getLogger(__name__)

Kind = Literal["visitor", "conversation", "age"]
DAY_SECONDS = 24 * 3600.0
WIPE_SECONDS = 10.0
"""How long readers are waited for whose view still holds the old log."""
TABLES = (
    "conversations, questions, attempts, feedback, handoffs, messages, corrections, attachments, attachment_passages"
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did, or would do."""

    conversations: int
    corrections: int
    """Approved ones among what went: adapters may have been trained on them."""
    wiped: bool
    """Whether the freed pages and the log were overwritten, too; else it is tried again with the next erasure."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """That something was erased; never what."""

    kind: Kind
    subject: str
    """SHA-256 of the visitor or the conversation; the limit of age in words."""
    conversations: int
    corrections: int
    erased_at: str


def erase_visitor(engine: Engine, visitor: str) -> Erased:
    """Erase every conversation of a visitor.

    Raises:
        AssistantError: no visitor is named.
        KnowledgeError: the database cannot be written; nothing was erased.
    """
    if not visitor:
        raise AssistantError("say whose conversations are to be erased.")
    return _erase(engine, conversations.c.visitor == clean(visitor), "visitor", _hash(visitor))


def erase_conversation(engine: Engine, conversation_id: str) -> Erased:
    """Erase one conversation.

    Raises:
        AssistantError: there is none.
        KnowledgeError: the database cannot be written; nothing was erased.
    """
    erased = _erase(engine, conversations.c.id == clean(conversation_id), "conversation", _hash(conversation_id))
    if not erased.conversations:
        raise AssistantError(f"there is no conversation {conversation_id!r}.")
    return erased


def erase_older(engine: Engine, days: int, *, dry_run: bool = False) -> Erased:
    """Erase conversations in which nothing was written for so many days; those that wait for or have a person stay.

    Args:
        engine: of the database.
        days: at least 1.
        dry_run: only count.

    Raises:
        AssistantError: fewer than one day.
        KnowledgeError: the database cannot be written; nothing was erased.
    """
    if days < 1:
        raise AssistantError(f"{days} days would erase what is being written; say at least 1.")
    limit = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    open_ones = select(handoffs.c.conversation).where(handoffs.c.state != "resolved")
    old = (conversations.c.updated_at < limit) & conversations.c.id.not_in(open_ones)
    if dry_run:
        with reading(engine) as connection:
            return Erased(*_count(connection, old), wiped=False)
    return _erase(engine, old, "age", f"older than {days} days")


def tombstones(engine: Engine) -> tuple[Tombstone, ...]:
    """Every erasure, the latest first."""
    query = select(
        erasures.c.kind, erasures.c.subject, erasures.c.conversations, erasures.c.corrections, erasures.c.erased_at
    ).order_by(erasures.c.number.desc())
    with reading(engine) as connection:
        return tuple(Tombstone(*row) for row in connection.execute(query))


def erased_since(engine: Engine, moment: str) -> int:
    """How many approved corrections were erased after a moment (ISO 8601): what was trained before may hold them."""
    query = select(func.coalesce(func.sum(erasures.c.corrections), 0)).where(erasures.c.erased_at > moment)
    with reading(engine) as connection:
        return int(connection.scalar(query) or 0)


class AgeKeeper:
    """Erases what is too old, at the start and once a day, in a thread of its own."""

    def __init__(self, engine: Engine, days: int) -> None:
        """Start, unless everything is kept.

        Args:
            engine: of the database.
            days: after which a conversation goes; 0 keeps all.
        """
        self._engine = engine
        self._days = days
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rungs-retention", daemon=True)
        if days:
            self._thread.start()

    def close(self) -> None:
        """Stop; an erasure under way is finished first."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                erased = erase_older(self._engine, self._days)
                if erased.conversations:
                    log.info("erased %s conversations older than %s days", erased.conversations, self._days)
            except (AssistantError, KnowledgeError):
                log.warning("old conversations could not be erased; trying again tomorrow", exc_info=True)
            if self._stop.wait(DAY_SECONDS):
                return


def _erase(engine: Engine, which: ColumnElement[bool], kind: Kind, subject: str) -> Erased:
    with writing(engine) as connection:
        number, trained = _count(connection, which)
        if not number:
            return Erased(0, 0, wiped=True)
        connection.execute(delete(conversations).where(which))
        row = {"kind": kind, "subject": subject, "conversations": number, "corrections": trained, "erased_at": _now()}
        connection.execute(insert(erasures), row)
    return Erased(number, trained, _wipe(engine))


def _count(connection: Connection, which: ColumnElement[bool]) -> tuple[int, int]:
    number = connection.scalar(select(func.count()).select_from(conversations).where(which)) or 0
    approved = (
        select(func.count())
        .select_from(corrections)
        .join(questions, questions.c.id == corrections.c.question)
        .join(conversations, conversations.c.id == questions.c.conversation)
        .where(which, corrections.c.state == "approved")
    )
    return number, connection.scalar(approved) or 0


def _wipe(engine: Engine) -> bool:
    """Write the tables anew without what was deleted: a deleted row stays readable in its page until then."""
    try:
        return _wipe_sqlite(engine) if is_sqlite(engine) else _wipe_postgres(engine)
    except (
        SQLAlchemyError,
        sqlite3.Error,
    ):  # it is deleted; a full disk or a busy database only keeps its traces for longer
        log.warning("what was erased could not be overwritten yet", exc_info=True)
        return False


def _wipe_sqlite(engine: Engine) -> bool:
    with closing(engine.raw_connection()) as connection:  # SQLAlchemy's own would begin a transaction
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        deadline = time.monotonic() + WIPE_SECONDS
        while cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    return True


def _wipe_postgres(engine: Engine) -> bool:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        try:
            connection.exec_driver_sql(f"VACUUM (FULL) {TABLES}")
        finally:
            connection.exec_driver_sql("RESET lock_timeout")
    return True


def _hash(text: str) -> str:
    return hashlib.sha256(clean(text).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
