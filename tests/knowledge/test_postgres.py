"""PostgreSQL as the database: reached by one setting, one writer at a time, and every failure said without a secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from knowledge import database
from knowledge.errors import KnowledgeError, StorageFull
from tests import postgres
from tests.absent import absent

SECRET = "s3cret-of-the-owner"


@pytest.fixture
def engine(empty_postgresql: str) -> Iterator[Engine]:
    engine = database.open_engine(empty_postgresql)
    yield engine
    engine.dispose()


@pytest.fixture
def table(engine: Engine) -> Engine:
    with database.writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (number SERIAL PRIMARY KEY, a TEXT UNIQUE)"))
    return engine


@pytest.mark.parametrize("kind", ["postgresql", "postgres", "postgresql+psycopg"])
def test_each_way_to_write_the_kind_of_database_works(empty_postgresql: str, kind: str) -> None:
    engine = database.open_engine(empty_postgresql.replace("postgresql", kind, 1))
    with database.reading(engine) as connection:
        assert connection.scalar(text("SELECT current_setting('application_name')")) == "rungs"
        assert connection.scalar(text("SELECT current_setting('lock_timeout')")) == f"{database.BUSY_SECONDS}s"
    engine.dispose()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("127.0.0.1:1/x", "cannot be reached"),
        ("no-such-host.invalid/x", "cannot be reached"),
        ("/missing?host={folder}", "no such database"),
        ("/postgres?host={folder}&user=nobody_here", "no such database or user"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_without_the_password(
    postgresql: postgres.Server, place: str, said: str
) -> None:
    url = f"postgresql://rungs:{SECRET}@{place.format(folder=postgresql.folder)}"
    engine = database.open_engine(url)
    with pytest.raises(KnowledgeError, match=said) as caught, database.reading(engine):
        pass
    engine.dispose()
    told = f"{caught.value!r} {caught.value.__cause__!r} {engine!r}"
    assert SECRET not in told and "PostgreSQL database" in str(caught.value)


def test_a_url_that_is_none_is_refused_without_printing_it() -> None:
    with pytest.raises(KnowledgeError, match="setting `database`") as caught:
        database.open_engine(f"postgresql//rungs:{SECRET}@host/x")
    assert SECRET not in str(caught.value)


def test_what_people_asked_is_in_no_error(table: Engine) -> None:
    with pytest.raises(IntegrityError) as caught, database.writing(table) as connection:
        for _ in range(2):
            connection.execute(text("INSERT INTO t (a) VALUES (:a)"), {"a": "ours"})
    with pytest.raises(DBAPIError) as other, database.reading(table) as connection:
        connection.execute(text("SELECT * FROM missing WHERE a = :a"), {"a": SECRET})
    assert SECRET not in str(other.value) and "ours" not in str(caught.value).split("DETAIL")[0]


def test_a_database_that_goes_away_and_comes_back_serves_the_next_request(tmp_path: Path) -> None:
    with postgres.running() as server:
        if server is None:
            absent("PostgreSQL", "postgresql")
        engine = database.open_engine(server.make())
        with database.writing(engine) as connection:
            connection.execute(text("CREATE TABLE t (a INTEGER)"))
        for how in ("fast", "immediate"):
            with pytest.raises(KnowledgeError, match=r"ended the connection|cannot be reached"):  # noqa: SIM117
                with database.reading(engine) as connection:
                    server.stop(how)
                    connection.execute(text("SELECT a FROM t"))
            with pytest.raises(KnowledgeError, match="cannot be reached"), database.reading(engine):
                pass
            server.start()
            with database.writing(engine) as connection:
                connection.execute(text("INSERT INTO t VALUES (1)"))
        with database.reading(engine) as connection:
            assert connection.scalar(text("SELECT count(*) FROM t")) == 2
        engine.dispose()


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("53100", StorageFull, "no room left"),
        ("57014", KnowledgeError, "longer than"),
        ("25006", KnowledgeError, "can only be read"),
        ("53300", KnowledgeError, "takes no more connections"),
        ("XX001", KnowledgeError, "damaged"),
    ],
)
def test_what_the_server_says_of_itself_is_explained(
    table: Engine, state: str, kind: type[KnowledgeError], said: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'from the server' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(kind, match=said), database.writing(table) as connection:
        connection.execute(text("INSERT INTO t (a) VALUES ('half')"))
        connection.exec_driver_sql(raising)
    with database.reading(table) as connection:
        assert connection.scalar(text("SELECT count(*) FROM t")) == 0


def test_a_statement_that_takes_too_long_is_stopped(table: Engine) -> None:
    with pytest.raises(KnowledgeError, match="longer than"), database.writing(table) as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = '50ms'")
        connection.exec_driver_sql("SELECT pg_sleep(5)")


def test_who_waits_too_long_for_a_turn_is_told(table: Engine) -> None:
    with database.writing(table), pytest.raises(KnowledgeError, match="another process is writing"):  # noqa: SIM117
        with database.writing(table, wait_seconds=1):
            pass
    with database.writing(table, "one"), database.writing(table, "two", wait_seconds=1):
        pass  # lanes do not wait for each other


def test_a_reader_sees_one_moment_and_cannot_write(table: Engine) -> None:
    with database.reading(table) as reader:
        assert reader.scalar(text("SELECT count(*) FROM t")) == 0
        with database.writing(table) as writer:
            writer.execute(text("INSERT INTO t (a) VALUES ('new')"))
        assert reader.scalar(text("SELECT count(*) FROM t")) == 0
    with pytest.raises(KnowledgeError, match="can only be read"), database.reading(table) as reader:
        reader.execute(text("DELETE FROM t"))


def test_rows_are_numbered_in_the_order_in_which_they_become_visible(table: Engine) -> None:
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with database.reading(table) as connection:
                fresh = list(connection.scalars(text("SELECT number FROM t ORDER BY number")))
            seen.extend(number for number in fresh if number not in seen)

    def write(name: int) -> None:
        for i in range(40):
            with database.writing(table) as connection:
                connection.execute(text("INSERT INTO t (a) VALUES (:a)"), {"a": f"{name}-{i}"})
                if i % 3 == 0:
                    connection.exec_driver_sql("SELECT pg_sleep(0.003)")

    watcher = threading.Thread(target=watch)
    watcher.start()
    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    watcher.join()
    assert seen == sorted(seen) and len(seen) > 10


def test_a_task_is_done_by_one_process_at_a_time(empty_postgresql: str) -> None:
    one, other = (database.open_engine(empty_postgresql) for _ in range(2))
    with database.alone(one, "index") as mine, database.alone(other, "index") as theirs:
        assert (mine, theirs) == (True, False)
        with database.alone(other, "something else") as theirs:
            assert theirs
    with database.alone(other, "index", 1.0) as theirs:
        assert theirs
    one.dispose()
    other.dispose()


def test_text_that_a_database_refuses_is_cleaned(table: Engine) -> None:
    with database.writing(table) as connection:
        connection.execute(text("INSERT INTO t (a) VALUES (:a)"), [{"a": "nul\0here"}, {"a": "lone\ud800here"}])
    with database.reading(table) as connection:
        assert list(connection.scalars(text("SELECT a FROM t ORDER BY number"))) == ["nul here", "lone\ufffdhere"]
        assert connection.scalar(text("SELECT number FROM t WHERE a = :a"), {"a": "nul\0here"}) == 1


def test_a_crowd_waits_for_a_connection_instead_of_failing(table: Engine) -> None:
    failed: list[BaseException] = []

    def read() -> None:
        try:
            with database.reading(table) as connection:
                connection.exec_driver_sql("SELECT pg_sleep(0.1)")
        except BaseException as error:
            failed.append(error)

    crowd = [threading.Thread(target=read) for _ in range(60)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert failed == []
