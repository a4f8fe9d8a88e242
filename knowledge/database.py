"""Opening the SQL database and bringing its tables up to date.

SQLite or PostgreSQL, by the URL alone. SQLite gets write-ahead logging, full synchronisation and real transactions
(also for table changes, which Python's driver would otherwise commit one by one); PostgreSQL's side is `postgres.py`.
No table is defined here. Called by `assistant/build.py`, `store.py` and the trace store.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from knowledge import postgres
from knowledge.errors import KnowledgeError, StorageFull
from knowledge.text import clean

BUSY_SECONDS = 10
"""How long a writer waits for another process's transaction."""
MIGRATION_SECONDS = 600
"""How long a process waits, at its start, for another one that is bringing the tables up to date."""
CONNECTIONS_MORE = 40
"""Beyond the pool's five that stay open: as many readers as there may be answers under way."""
_TURNS: weakref.WeakKeyDictionary[Engine, threading.RLock] = weakref.WeakKeyDictionary()
_TURNS_MADE = threading.Lock()
WRITES = "rungs_writes"
"""Execution option: begin with the write lock, so that a transaction never fails half-way for want of it."""
SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def open_engine(url: str) -> Engine:
    """Open a database by SQLAlchemy URL; for SQLite the file's folder is created.

    Safe to use from several threads: each takes its own connection from the pool.

    Raises:
        KnowledgeError: no such kind of database, its driver is not installed, or its folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise KnowledgeError(
            "the setting `database` is no URL of a database. Write postgresql://user:password@host/name, or unset it "
            "to use SQLite."
        ) from error
    if parsed.drivername in postgres.NAMES:
        try:
            engine = postgres.connect(parsed, BUSY_SECONDS)
        except ImportError as error:
            raise KnowledgeError(
                "the setting `database` names PostgreSQL, and its driver is not installed: "
                "pip install -c constraints.txt 'rungs[postgres]'"
            ) from error
    elif parsed.get_backend_name() == "sqlite":
        engine = _open_sqlite(parsed)
    else:
        raise KnowledgeError(
            f"the setting `database` cannot be used: {parsed.drivername}. Write postgresql://user:password@host/name, "
            "or unset it to use SQLite."
        )
    event.listen(engine, "before_cursor_execute", _cleaned, retval=True)
    return engine


def _open_sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KnowledgeError(f"{url.database}: its folder cannot be made ({error}).") from error
    pool = {} if url.database in (None, "", ":memory:") else {"max_overflow": CONNECTIONS_MORE}
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _cleaned(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> tuple[str, Any]:
    """Every text that goes to a database, as one that each of them takes: PostgreSQL refuses NUL, both a surrogate."""
    return statement, _clean(values)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _clean(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_clean(inner) for inner in value)
    return value


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event says BEGIN; the driver must not
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads: everything seen in it belongs together.

    Raises:
        KnowledgeError: the database is damaged, cannot be read or cannot be reached.
    """
    options = {} if is_sqlite(engine) else SNAPSHOT
    try:
        with engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection
    except (DBAPIError, PoolTimeout) as error:
        raise _explained(error, engine) from error


@contextmanager
def writing(engine: Engine, lane: str = "", wait_seconds: int | None = None) -> Iterator[Connection]:
    """One transaction that writes: committed on leaving, rolled back on any error.

    Writers take turns, also those of other processes: what one reads stays true until it commits. On PostgreSQL those
    of different lanes do not wait for each other; SQLite has one lane.

    Args:
        engine: from `open_engine`.
        lane: whose turn; every writer of one table uses the same.
        wait_seconds: how long to wait for it; None is BUSY_SECONDS.

    Raises:
        StorageFull: the disk has no room; nothing of this transaction was kept.
        KnowledgeError: another process holds the write lock, or the database cannot be written or reached.
    """
    with ExitStack() as turn:
        if is_sqlite(engine):
            turn.enter_context(_turn(engine))
        try:
            with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                if not is_sqlite(engine):
                    postgres.take_turn(connection, lane, wait_seconds)
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise _explained(error, engine) from error


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """This process's writers wait here, and not for SQLite's lock with a connection in their hands that readers need.

    Raises:
        KnowledgeError: somebody writes for too long.
    """
    with _TURNS_MADE:
        lock = _TURNS.setdefault(engine, threading.RLock())
    if not lock.acquire(timeout=BUSY_SECONDS):
        raise KnowledgeError(f"{engine.url.database}: somebody else is writing to it. Try again when they are done.")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone(engine: Engine, task: str, wait_seconds: float = 0.0) -> Iterator[bool]:
    """Whether this process is the only one at a task for as long as the block runs.

    On SQLite it always is: one process owns a home.

    Args:
        engine: from `open_engine`.
        task: the same name in every process.
        wait_seconds: how long to wait for another one to be done.

    Raises:
        KnowledgeError: the database cannot be reached.
    """
    if is_sqlite(engine):
        yield True
        return
    with ExitStack() as stack:
        try:
            got = stack.enter_context(postgres.held(engine, task, wait_seconds))
        except (DBAPIError, PoolTimeout) as error:
            raise _explained(error, engine) from error
        yield got


def is_sqlite(engine: Engine) -> bool:
    """Whether it is a file that one process owns; else a server that several share."""
    return engine.dialect.name == "sqlite"


def place(engine: Engine) -> str:
    """Where the database is, for people; nothing secret."""
    return str(engine.url.database) if is_sqlite(engine) else postgres.place(engine.url)


def _explained(error: DBAPIError | PoolTimeout, engine: Engine) -> Exception:
    if isinstance(error, PoolTimeout):
        return KnowledgeError(f"{place(engine)}: all its connections are in use. Try again in a moment.")
    if not is_sqlite(engine):
        return postgres.explained(error, engine)
    reason, where = str(error.orig).lower(), place(engine)
    if "disk is full" in reason or "no space left" in reason:
        return StorageFull(f"{where}: no room left on the disk. Free some; what was acknowledged before is kept.")
    if "locked" in reason or "busy" in reason:
        return KnowledgeError(f"{where}: another process is writing to it. Try again when that one is done.")
    if "readonly" in reason:
        return KnowledgeError(f"{where}: cannot be written. Check its owner and permissions.")
    if "malformed" in reason or "not a database" in reason:
        return KnowledgeError(f"{where}: is damaged ({error.orig}). Restore it from a backup.")
    return error


def migrate(engine: Engine, migrations: Path, version_table: str) -> None:
    """Bring one room's tables to the newest revision, in one transaction: all of it or nothing.

    A revision's file is named by its id and ids sort by age, so that a database which is up to date is recognised
    without importing Alembic.

    Args:
        engine: from `open_engine`.
        migrations: folder with Alembic's `env.py` and `versions/`.
        version_table: the table that remembers this room's revision; each room has its own.

    Raises:
        KnowledgeError: the database was written by a newer Rungs.
        StorageFull: no room for the change; the old tables stay.
    """
    newest = max(path.stem for path in (migrations / "versions").glob("*.py") if path.stem != "__init__")
    if _revision(engine, version_table) == newest:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["version_table"] = version_table
    try:
        with writing(engine, "migrations", MIGRATION_SECONDS) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise KnowledgeError(
            f"{place(engine)}: {error}. It was written by another version of Rungs; use that one or newer."
        ) from error


def _revision(engine: Engine, version_table: str) -> str | None:
    with reading(engine) as connection:
        if not inspect(connection).has_table(version_table):
            return None
        row = connection.execute(text(f"SELECT version_num FROM {version_table}")).first()  # noqa: S608
    return None if row is None else str(row[0])


def run_migrations(context: Any, metadata: MetaData) -> None:
    """What a room's Alembic `env.py` does: migrate the connection handed over in `config.attributes`.

    Autogenerate sees only the tables of `metadata`: other rooms share the database, and SQLite's full-text search
    keeps shadow tables in it.
    """

    def own(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in metadata.tables

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=context.config.attributes["version_table"],
        include_name=own,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
