"""Engines and migrations: durable settings, all or nothing, and an honest refusal of a newer database."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from knowledge import database
from knowledge.errors import KnowledgeError
from knowledge.store import MIGRATIONS, VERSION_TABLE
from knowledge.tables import METADATA
from tests.knowledge import storing


def test_sqlite_is_opened_durable_and_with_foreign_keys(tmp_path: Path) -> None:
    engine = database.open_engine(f"sqlite:///{tmp_path / 'deep' / 'er' / 'rungs.db'}")
    with engine.connect() as connection:
        values = [
            connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert values == ["wal", 2, 1]


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    engine = storing.database(tmp_path)
    for _ in range(2):
        database.migrate(engine, MIGRATIONS, VERSION_TABLE)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {VERSION_TABLE}")).scalar() == 1
    engine.dispose()


def test_a_revision_is_named_by_its_file(tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    revisions = [(revision.revision, Path(revision.path).stem) for revision in script.walk_revisions()]
    assert all(revision == stem for revision, stem in revisions)
    assert [revision for revision, _ in revisions] == sorted((r for r, _ in revisions), reverse=True)


def test_the_migrated_tables_are_those_of_the_code(tmp_path: Path) -> None:
    engine = storing.database(tmp_path)
    database.migrate(engine, MIGRATIONS, VERSION_TABLE)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables},
        )
        assert compare_metadata(context, METADATA) == []
        assert "passage_words_data" in inspect(connection).get_table_names()
    engine.dispose()


def test_autogenerate_sees_neither_search_tables_nor_other_rooms(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    engine = storing.database(tmp_path)
    database.migrate(engine, MIGRATIONS, VERSION_TABLE)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.writing(engine) as connection:
        connection.execute(text("CREATE TABLE of_another_room (a INTEGER)"))
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.check(config)  # raises where it would generate anything
    engine.dispose()


def test_a_migration_that_fails_half_way_leaves_the_old_tables(tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(
        "from alembic import context\nfrom sqlalchemy import MetaData\n"
        "from knowledge.database import run_migrations\nrun_migrations(context, MetaData())\n"
    )
    (folder / "versions" / "t0001.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision = 't0001'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('first', sa.Column('a', sa.Integer))\n    raise RuntimeError('half-way')\n"
    )
    engine = storing.database(tmp_path)
    with pytest.raises(RuntimeError, match="half-way"):
        database.migrate(engine, folder, "alembic_version_test")
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    engine = storing.database(tmp_path)
    database.migrate(engine, MIGRATIONS, VERSION_TABLE)
    with database.writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'k9999'"))
    with pytest.raises(KnowledgeError, match="another version of Rungs"):
        database.migrate(engine, MIGRATIONS, VERSION_TABLE)
    engine.dispose()


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "rungs.db").write_text("This is not a database. " * 500)
    with pytest.raises(KnowledgeError, match=r"rungs\.db.*damaged"), storing.opened(tmp_path):
        pass


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    engine = storing.database(tmp_path)
    with pytest.raises(ZeroDivisionError), database.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        _ = 1 / 0
    with database.reading(engine) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_writers_in_several_threads_wait_for_each_other(tmp_path: Path) -> None:
    engine = storing.database(tmp_path)
    with database.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (0)"))

    def add() -> None:
        for _ in range(20):
            with database.writing(engine) as connection:
                value = connection.execute(text("SELECT a FROM t")).scalar_one()
                connection.execute(text("UPDATE t SET a = :a"), {"a": value + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading(engine) as connection:
        assert connection.execute(text("SELECT a FROM t")).scalar() == 80
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nodriver://localhost/x"])
def test_a_url_that_cannot_be_used_is_said_with_the_setting(url: str) -> None:
    with pytest.raises(KnowledgeError, match="setting `database`"):
        database.open_engine(url)
