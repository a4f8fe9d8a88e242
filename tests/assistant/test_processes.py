"""Several processes over one database: nobody closes what a living one is answering; a dead one's is closed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from assistant import processes
from assistant.build import build
from assistant.processes import Heartbeat, process_id
from assistant.settings import Settings
from assistant.traces import TraceStore
from assistant.types import Finished, Question
from knowledge.database import open_engine
from tests import postgres
from tests.chroma import ChromaServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def url(postgresql: postgres.Server) -> Iterator[str]:
    url = postgresql.make(postgres.TEMPLATE)
    yield url
    postgresql.drop(url)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def process(engine: Engine, home: Path) -> tuple[TraceStore, Heartbeat]:
    """As `build` starts one."""
    home.mkdir(exist_ok=True)
    name = process_id(engine, home)
    heartbeat = Heartbeat(engine, name)
    heartbeat.start()
    return TraceStore(engine, process=name), heartbeat


def silence(engine: Engine, seconds: float) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE processes SET seen = seen - :s"), {"s": seconds})


def test_a_start_closes_nothing_that_a_living_process_answers(engine: Engine, tmp_path: Path) -> None:
    traces, beating = process(engine, tmp_path / "one")
    with closing(beating):
        trace_id = traces.begin(Question("why?", "c"), {})
        other, others = process(engine, tmp_path / "other")
        with closing(others):
            assert other.close_open() == 0
            assert other.find()[0].status == "started"
            silence(engine, processes.SILENT_SECONDS * 2)
            assert other.close_open() == 1
            assert [row.id for row in other.find(outcome="interrupted")] == [trace_id]


def test_the_same_home_started_again_closes_its_own_at_once(engine: Engine, tmp_path: Path) -> None:
    traces, beating = process(engine, tmp_path / "one")
    traces.begin(Question("why?", "c"), {})
    again, beats_again = process(engine, tmp_path / "one")  # the first one was killed: it said no goodbye
    assert again.find()[0].status == "interrupted"
    beats_again.close()
    beating.close()


def test_who_leaves_in_order_is_forgotten_and_its_rest_is_closed_by_a_beat(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.05)
    traces, beating = process(engine, tmp_path / "one")
    own, others = process(engine, tmp_path / "other")
    with closing(others):
        mine = own.begin(Question("mine?", "d"), {})
        traces.begin(Question("why?", "c"), {})
        time.sleep(0.3)
        assert {row.status for row in own.find()} == {"started"}
        beating.close()
        deadline = time.monotonic() + 10
        while not own.find(outcome="interrupted") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert {row.id: row.status for row in own.find()}[mine] == "started"
        assert len(own.find(outcome="interrupted")) == 1


ANSWERING = """
import sys, time
from pathlib import Path
from assistant.build import build
from assistant.settings import Settings
from assistant.types import Finished, Question
rungs = build(Settings(home=Path(sys.argv[1]), database=sys.argv[2], model="scripted", embedder="hash"))
print(rungs.traces.begin(Question("why?", "c"), {}), flush=True)
time.sleep(600)
"""


def test_a_killed_process_is_found_out_by_another(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANSWERING, str(tmp_path / "one"), url]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    trace_id = running.stdout.readline().strip()
    settings = Settings(home=tmp_path / "other", database=url, model="scripted", embedder="hash")
    with closing(build(settings)) as rungs:
        assert rungs.traces.close_open() == 0 and rungs.traces.find()[0].id == trace_id
        running.send_signal(signal.SIGKILL)
        running.communicate()
        silence(rungs.engine, processes.SILENT_SECONDS * 2)
        rungs.heartbeat.beat()
        assert rungs.traces.close_open() == 1


def test_two_homes_over_one_database_and_one_index_are_one_assistant(
    url: str, tmp_path: Path, chroma_of_session: ChromaServer
) -> None:
    with ExitStack() as opened:
        one, other = (
            opened.enter_context(
                closing(
                    build(
                        Settings(
                            home=tmp_path / name,
                            database=url,
                            chroma=chroma_of_session.url,
                            model="scripted",
                            embedder="hash",
                        )
                    )
                )
            )
            for name in ("one", "other")
        )
        from knowledge.ingest import ingest

        page = tmp_path / "lamp.md"
        page.write_text("# Lamps\n\nA lamp is switched on with the red lever.")
        list(ingest(one.store, [page]))
        conversation = one.traces.open_conversation("ann", "chat")
        assert other.traces.open_conversation("ann", "chat", conversation) == conversation
        asked = Question("How is a lamp switched on?", conversation)
        with closing(other.assistant.stream(asked)) as events:  # type: ignore[type-var]
            trace = next(event.trace for event in events if isinstance(event, Finished))
        assert trace.evidence.hits and trace.evidence.hits[0].passage.document == "lamp.md"
        assert one.traces.load(trace.id).answer == trace.answer
        assert [turn.trace_id for turn in one.traces.turns(conversation)] == [trace.id]
        assert one.store.index_version == other.store.index_version


def test_alone_on_a_file_there_is_nothing_to_tell(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    assert process_id(engine, tmp_path) == ""
    heartbeat = Heartbeat(engine, "")
    heartbeat.start()
    heartbeat.close()
    assert not (tmp_path / processes.FILE).exists()
    engine.dispose()
