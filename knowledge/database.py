"""Opening the SQL database and bringing its tables up to date.

SQLite gets write-ahead logging, full synchronisation and real transactions (also for table changes, which Python's
driver would otherwise commit one by one); any other SQLAlchemy URL is passed through. No table is defined here.
Called by `assistant/build.py`, `store.py` and the trace store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from knowledge.errors import KnowledgeError, StorageFull

BUSY_SECONDS = 10
"""How long a writer waits for another process's transaction."""
WRITES = "rungs_writes"
"""Execution option: begin with the write lock, so that a transaction never fails half-way for want of it."""


def open_engine(url: str) -> Engine:
    """Open a database by SQLAlchemy URL; for SQLite the file's folder is created.

    Safe to use from several threads: each takes its own connection from the pool.

    Raises:
        KnowledgeError: no such kind of database, its driver is not installed, or its folder cannot be made.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed)
    except (ArgumentError, ImportError) as error:
        raise KnowledgeError(
            f"the setting `database` cannot be used ({error}). Give an SQLAlchemy URL whose driver is installed, "
            "or unset it to use SQLite."
        ) from error
    if parsed.database and parsed.database != ":memory:":
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KnowledgeError(f"{parsed.database}: its folder cannot be made ({error}).") from error
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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
        KnowledgeError: the database is damaged or cannot be read.
    """
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    except DBAPIError as error:
        raise _explained(error, engine) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: committed on leaving, rolled back on any error.

    Raises:
        StorageFull: the disk has no room; nothing of this transaction was kept.
        KnowledgeError: another process holds the write lock, or the file cannot be written.
    """
    try:
        with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
            yield connection
    except DBAPIError as error:
        raise _explained(error, engine) from error


def _explained(error: DBAPIError, engine: Engine) -> Exception:
    reason = str(error.orig).lower()
    where = engine.url.database or engine.url.render_as_string(hide_password=True)
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
        with writing(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise KnowledgeError(
            f"{engine.url.database}: {error}. It was written by another version of Rungs; use that one or newer."
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
