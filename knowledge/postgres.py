"""PostgreSQL's side of the database: how it is reached, one writer at a time, and what its errors mean.

Messages name the server and the database, never a user's password. Opens nothing by itself. Called by `database.py`
alone.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from knowledge.errors import KnowledgeError, StorageFull

NAMES = ("postgresql", "postgres", "postgresql+psycopg")
"""Ways to write the kind of database in a URL; all of them mean psycopg 3."""
LOCKS = 0x52554E47
"""First half of the key of each advisory lock ("RUNG"), so that other programs' locks are never met."""
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 60
POOL, OVERFLOW, POOL_SECONDS = 5, 15, 10
"""Connections kept, and those made beside them under load: five processes fit PostgreSQL's default of 100."""
RECYCLE_SECONDS = 900
"""Older connections are made anew: firewalls forget them without a word."""

_FULL = ("53100", "58030")
_UNREACHABLE = ("08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03", "57P05", "25P03")
_ADVICE = {
    "55P03": "another process is writing to it. Try again when that one is done.",
    "40P01": "another process is writing to it. Try again when that one is done.",
    "40001": "another process is writing to it. Try again when that one is done.",
    "57014": f"a statement took longer than {STATEMENT_SECONDS} s. Is the server overloaded?",
    "53300": "takes no more connections. Raise max_connections there, or run fewer processes.",
    "25006": "can only be read. Is it a standby? Name the primary server in the setting `database`.",
    "42501": "forbids that to this user. It must own the database, or be granted CREATE on its schema.",
    "22P05": "does not store every character. Make the database with ENCODING 'UTF8'.",
    "22021": "does not store every character. Make the database with ENCODING 'UTF8'.",
    "XX001": "is damaged. Restore it from a backup.",
    "XX002": "is damaged. Restore it from a backup.",
}


def connect(url: URL, busy_seconds: int) -> Engine:
    """An engine whose connections are tested before use, so that a server that was away is met anew.

    Args:
        url: with whatever libpq takes as its query (`?sslmode=require`), which wins over what is set here.
        busy_seconds: how long a statement waits for a lock.

    Raises:
        ImportError: psycopg 3 is not installed.
    """
    limits = {
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "lock_timeout": f"{busy_seconds}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
        "tcp_keepalives_idle": "60",  # the machine of a process that died gives its locks back in two minutes
        "tcp_keepalives_interval": "20",
        "tcp_keepalives_count": "3",
    }
    ours: dict[str, Any] = {
        "client_encoding": "utf8",
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "rungs",
        "tcp_user_timeout": STATEMENT_SECONDS * 1000,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
    }
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={name: value for name, value in ours.items() if name not in url.query},
        pool_pre_ping=True,
        pool_size=POOL,
        max_overflow=OVERFLOW,
        pool_timeout=POOL_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        hide_parameters=True,  # they are what people asked; an error's message may reach a log
    )


def take_turn(connection: Connection, lane: str, wait_seconds: int | None) -> None:
    """Wait until no other transaction writes in this lane; the turn ends with the transaction.

    Writers that take turns see what the ones before them committed, and their rows are numbered in the order in which
    they become visible: what SQLite promises by its one writer.
    """
    if wait_seconds is not None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{wait_seconds}s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.execute(text("SELECT pg_advisory_xact_lock(:ours, :lane)"), {"ours": LOCKS, "lane": _key(lane)})


@contextmanager
def held(engine: Engine, task: str, wait_seconds: float) -> Iterator[bool]:
    """Whether the lock of a task could be had in time; no transaction is open meanwhile. Given back at the end."""
    key = {"ours": LOCKS, "task": _key(f"task {task}")}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        deadline = time.monotonic() + wait_seconds
        while not (got := bool(connection.scalar(text("SELECT pg_try_advisory_lock(:ours, :task)"), key))):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        try:
            yield got
        finally:
            if got:
                try:
                    connection.execute(text("SELECT pg_advisory_unlock(:ours, :task)"), key)
                except DBAPIError:  # the server went away, and the lock with it
                    connection.invalidate()


def explained(error: DBAPIError, engine: Engine) -> Exception:
    """A driver's error as ours; one that is a mistake of this program's stays what it is."""
    state = getattr(error.orig, "sqlstate", None)
    reason = " ".join(str(error.orig).split())
    where = place(engine.url)
    if state in _FULL or "no space left" in reason.lower():
        return StorageFull(f"{where}: no room left on its disk. Free some; what was acknowledged before is kept.")
    if state in _ADVICE:
        return KnowledgeError(f"{where}: {_ADVICE[state]}")
    if state is None and type(error.orig).__name__ == "OperationalError":
        return KnowledgeError(f"{where}: {_why_not_connected(reason)}")
    if state in _UNREACHABLE or error.connection_invalidated:
        return KnowledgeError(f"{where}: the server ended the connection ({reason}). Try again once it is up.")
    return error


def _why_not_connected(reason: str) -> str:
    told = reason.lower()
    if "authentication failed" in told or "no password supplied" in told:
        return "refuses user or password. Mend the setting `database`."
    if "does not exist" in told:
        return f"there is no such database or user ({_short(reason)}). Create it there first."
    if "too many" in told or "remaining connection slots" in told:
        return _ADVICE["53300"]
    if "pg_hba" in told:
        return f"lets nobody in from here ({_short(reason)}). Add a line to its pg_hba.conf."
    return f"cannot be reached ({_short(reason)}). Is the server running, and is the setting `database` right?"


def _short(reason: str) -> str:
    """The last and telling part of a driver's message."""
    return reason.rsplit("failed: ", 1)[-1].removeprefix("FATAL: ").strip()[:200]


def place(url: URL) -> str:
    """Server and database, for people; nothing secret."""
    host = url.host or str(url.query.get("host", "") or "local socket")
    return f"PostgreSQL database {url.database or url.username or '?'} on {host}" + (f":{url.port}" if url.port else "")


def _key(name: str) -> int:
    return zlib.crc32(name.encode()) - 2**31
