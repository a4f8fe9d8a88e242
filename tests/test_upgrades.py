"""Every schema that was released is upgraded without losing a row, on each kind of database, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    insert,
    inspect,
    select,
    text,
)

import assistant.traces
import knowledge.store
import ui.access.people
from knowledge import database
from knowledge.errors import KnowledgeError
from tests import postgres

ROOMS = {
    "knowledge": (knowledge.store.MIGRATIONS, knowledge.store.VERSION_TABLE),
    "assistant": (assistant.traces.MIGRATIONS, assistant.traces.VERSION_TABLE),
    "ui": (ui.access.people.MIGRATIONS, ui.access.people.VERSION_TABLE),
}
ROWS = 3
OWN_WAY = ("passage_words", "alembic_version")
"""Not filled by hand: the keyword tables of each database, and Alembic's."""


def revisions(room: str) -> list[str]:
    """A room's revisions, oldest first."""
    script = ScriptDirectory(str(ROOMS[room][0]))
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


RELEASED = [(room, revision) for room in ROOMS for revision in revisions(room)]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a database without tables."""
    url = f"sqlite:///{tmp_path / 'rungs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgresql")
    engine = database.open_engine(url)
    yield engine
    engine.dispose()


def upgrade_to(engine: Engine, room: str, revision: str) -> None:
    """As the Rungs that shipped this revision left its database."""
    migrations, version_table = ROOMS[room]
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with database.writing(engine) as connection:
        config.attributes.update(connection=connection, version_table=version_table)
        command.upgrade(config, revision)


def tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if not table.name.startswith(OWN_WAY)]


def value(table: Table, column: Any, row: int) -> Any:
    """Something of the column's kind; a foreign key names the same row of the other table."""
    if column.foreign_keys:
        return value(next(iter(column.foreign_keys)).column.table, next(iter(column.foreign_keys)).column, row)
    for kind, made in (
        (Boolean, row % 2 == 0),
        (Integer, row),
        ((Float, Numeric), row + 0.5),
        (LargeBinary, bytes([row]) * 8),
    ):
        if isinstance(column.type, kind):
            return made
    return f"{table.name}.{column.name} {row} ‘é’"


def fill(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Rows in every table; what was written, by table."""
    written = {}
    with database.writing(engine) as connection:
        for table in tables(connection):
            rows = [{column.name: value(table, column, row) for column in table.columns} for row in range(1, ROWS + 1)]
            if table.name == "knowledge_meta":
                rows[0] = {"name": "generation", "value": "7"}
            connection.execute(insert(table), rows)
            written[table.name] = rows
    return written


def held(engine: Engine, written: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The same columns of the same tables as they are now."""
    kept = {}
    with database.reading(engine) as connection:
        for table in tables(connection):
            if table.name in written:
                names = [name for name in written[table.name][0] if name in table.columns]
                found = connection.execute(select(*[table.c[name] for name in names])).mappings()
                kept[table.name] = sorted((dict(row) for row in found), key=repr)
    return kept


@pytest.mark.parametrize(("room", "revision"), RELEASED)
def test_upgrading_loses_nothing(empty: Engine, room: str, revision: str) -> None:
    upgrade_to(empty, room, revision)
    written = fill(empty)
    assert written
    database.migrate(empty, *ROOMS[room])
    assert held(empty, written) == {name: sorted(rows, key=repr) for name, rows in written.items()}
    with database.reading(empty) as connection:
        newest = connection.scalar(text(f"SELECT version_num FROM {ROOMS[room][1]}"))
    assert newest == revisions(room)[-1]
    database.migrate(empty, *ROOMS[room])


@pytest.mark.parametrize("room", ROOMS)
def test_an_upgraded_database_has_the_tables_of_the_code(empty: Engine, room: str) -> None:
    for revision in revisions(room):
        upgrade_to(empty, room, revision)
    migrations, version_table = ROOMS[room]
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with database.writing(empty) as connection:
        config.attributes.update(connection=connection, version_table=version_table)
        command.check(config)  # raises where it would generate anything


def shape(engine: Engine) -> dict[str, list[str]]:
    with database.reading(engine) as connection:
        seen = inspect(connection)
        return {name: sorted(column["name"] for column in seen.get_columns(name)) for name in seen.get_table_names()}


KILLED = """
import os, signal, sys
from pathlib import Path
from alembic.operations import Operations
from knowledge import database
left = int(sys.argv[4])
real = Operations.invoke
def dying(self, operation):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return real(self, operation)
Operations.invoke = dying
database.migrate(database.open_engine(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize("room", ROOMS)
def test_an_upgrade_that_is_killed_half_way_runs_again(empty: Engine, room: str) -> None:
    first = revisions(room)[0]
    if first == revisions(room)[-1]:
        pytest.skip("one revision so far")
    upgrade_to(empty, room, first)
    written, before = fill(empty), shape(empty)
    url = empty.url.render_as_string(hide_password=False)
    empty.dispose()
    for left in (0, 1, 2):
        command_line = [sys.executable, "-c", KILLED, url, str(ROOMS[room][0]), ROOMS[room][1], str(left)]
        done = subprocess.run(command_line, cwd=Path(__file__).parents[1], capture_output=True, check=False)
        if done.returncode == 0:  # there are no so many steps
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert shape(empty) == before
    database.migrate(empty, *ROOMS[room])
    assert held(empty, written) == {name: sorted(rows, key=repr) for name, rows in written.items()}


@pytest.mark.parametrize("room", ROOMS)
def test_a_newer_schema_is_refused_and_left_alone(empty: Engine, room: str) -> None:
    database.migrate(empty, *ROOMS[room])
    with database.writing(empty) as connection:
        connection.execute(text(f"UPDATE {ROOMS[room][1]} SET version_num = 'z9999'"))
    before = shape(empty)
    with pytest.raises(KnowledgeError, match="another version of Rungs"):
        database.migrate(empty, *ROOMS[room])
    assert shape(empty) == before


def test_processes_that_start_at_once_upgrade_once(empty_postgresql: str) -> None:
    code = (
        "import sys\nfrom knowledge import database\nfrom tests.postgres import migrate_all\n"
        "migrate_all(database.open_engine(sys.argv[1]))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_postgresql],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
            env=os.environ.copy(),
        )
        for _ in range(3)
    ]
    for process in started:
        _, told = process.communicate()
        assert process.returncode == 0, told
    engine = database.open_engine(empty_postgresql)
    postgres.migrate_all(engine)
    engine.dispose()
