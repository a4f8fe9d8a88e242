"""`rungs move-database`: everything from a home's SQLite file into an empty PostgreSQL database.

One transaction: all of it or nothing, and the file stays as it is. Tables are copied as they are, ids and order kept;
the keyword table, which each database has in its own way, is made anew. Called by the command line.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, func, insert, select, text

from assistant.errors import AssistantError
from assistant.traces import TraceStore
from knowledge import catalog
from knowledge.database import is_sqlite, migrate, open_engine, place, reading, writing
from knowledge.store import MIGRATIONS, VERSION_TABLE
from ui.access.people import People

BATCH = 500
MADE_ANEW = ("passage_words", "passage_words_total")


def move(source: str, target: str) -> dict[str, Any]:
    """Copy every table.

    Args:
        source: URL of the home's SQLite file; nobody else may write to it meanwhile.
        target: URL of an empty PostgreSQL database.

    Returns:
        How many `tables` and `rows` were copied, and the `database` they are in now.

    Raises:
        AssistantError: the source is no file, or the target no empty server's database.
        KnowledgeError: one of them cannot be used; the target is as empty as before.
    """
    here, there = open_engine(source), open_engine(target)
    try:
        if not is_sqlite(here) or is_sqlite(there):
            raise AssistantError(
                "this copies from SQLite to PostgreSQL: unset `database` and name a postgresql:// URL."
            )
        for engine in (here, there):
            _migrate(engine)
        with reading(here) as old, writing(there, "migrations", 600) as new:
            tables = _tables(new)
            if any(new.scalar(select(func.count()).select_from(table)) for table in tables):
                raise AssistantError(f"{place(there)} is not empty. Move into an empty database.")
            rows = sum(_copy(old, new, table) for table in tables)
            catalog.rebuild_keywords(new)
        return {"tables": len(tables), "rows": rows, "database": place(there)}
    finally:
        here.dispose()
        there.dispose()


def _migrate(engine: Engine) -> None:
    migrate(engine, MIGRATIONS, VERSION_TABLE)
    TraceStore(engine)
    People(engine)


def _tables(connection: Connection) -> list[Table]:
    """Every room's tables, those that others refer to first."""
    found = MetaData()
    found.reflect(connection)
    return [t for t in found.sorted_tables if t.name not in MADE_ANEW and not t.name.startswith("alembic_version")]


def _copy(old: Connection, new: Connection, table: Table) -> int:
    """One table's rows, in the order of its key; numbers to come go on after them."""
    copied = 0
    for some in old.execute(select(table).order_by(*table.primary_key.columns)).mappings().partitions(BATCH):
        new.execute(insert(table), [dict(row) for row in some])
        copied += len(some)
    if copied and "number" in table.columns:
        sequence = new.scalar(text("SELECT pg_get_serial_sequence(:table, 'number')"), {"table": table.name})
        if sequence:
            last = new.scalar(select(func.max(table.c.number)))
            new.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})
    return copied
