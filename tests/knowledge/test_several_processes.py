"""Several processes over one PostgreSQL and one Chroma server: what one of them changes, the others answer by."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from knowledge import database, dense
from knowledge.embedding import HashEmbedder
from knowledge.errors import IndexDamaged, KnowledgeError
from knowledge.store import KnowledgeStore
from tests import postgres
from tests.chroma import ChromaServer
from tests.knowledge.storing import HASH, fill, finds_everything, found, put, text_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def url(postgresql: postgres.Server) -> Iterator[str]:
    url = postgresql.make(postgres.TEMPLATE)
    yield url
    postgresql.drop(url)


class Processes:
    """Stores as different processes have them: an engine, a home and locks of their own."""

    def __init__(self, url: str, homes: Path, chroma: str, opened: ExitStack) -> None:
        self._url, self._homes, self._chroma, self._opened = url, homes, chroma, opened

    def start(self, name: str, embedder: HashEmbedder = HASH) -> KnowledgeStore:
        engine = database.open_engine(self._url)
        self._opened.callback(engine.dispose)
        store = KnowledgeStore(engine, self._homes / name / "chroma", embedder, self._chroma)
        return self._opened.enter_context(closing(store))


@pytest.fixture
def processes(url: str, tmp_path: Path, chroma_of_session: ChromaServer) -> Iterator[Processes]:
    with ExitStack() as opened:
        yield Processes(url, tmp_path, chroma_of_session.url, opened)


def test_what_one_process_changes_the_others_answer_by(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("other")
    assert one.index_version == other.index_version and other.count() == 0
    fill(one, 4)
    assert other.count() == 12 and one.index_version == other.index_version
    assert finds_everything(other, range(12)) and other.degraded is None
    put(other, "d0.md", ["marzipan instead"], fingerprint="v2")
    assert found(one, "marzipan", 1) == ["marzipan instead"] and found(one, text_of(0), 1) != [text_of(0)]
    assert one.headings() == other.headings() and one.count() == other.count() == 10
    assert one.remove("manual") == 4
    assert other.retrieve(["marzipan"], 3) == () and other.count() == 0
    fill(other, 1)
    assert finds_everything(one, range(3)) and one.degraded is None


def test_a_process_that_is_started_later_finds_what_is_there(processes: Processes) -> None:
    one = processes.start("one")
    fill(one, 3)
    later = processes.start("later")
    assert finds_everything(later, range(9)) and later.degraded is None
    assert later._dense._name != "" and finds_everything(one, range(9))
    assert one._dense._name == later._dense._name


def test_a_reindex_by_one_process_is_taken_up_by_the_others(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("other")
    fill(one, 3)
    assert finds_everything(other, range(9))
    before = other._dense._name
    list(one.reindex())
    assert finds_everything(other, range(9)) and other.degraded is None
    assert other._dense._name == one._dense._name != before


def test_what_others_change_during_a_reindex_is_in_the_new_index(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("other")
    fill(one, 3)
    assert finds_everything(one, range(9))
    for step in one.reindex():
        if step.done and step.label == "writing the index":
            put(other, "meanwhile.md", ["saffron came meanwhile"], fingerprint=f"v{other.index_version}")
            other.remove("manual", ["d1.md"])
            assert found(other, "saffron", 1) == ["saffron came meanwhile"]
    for store in (one, other):
        assert found(store, "saffron", 1) == ["saffron came meanwhile"]
        assert found(store, text_of(4), 1) != [text_of(4)]
        assert store.degraded is None and store._dense._index is not None and store._dense._index.count() == 7


def test_two_processes_do_not_rebuild_at_once(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "RETRY_SECONDS", 0.3)
    one, other = processes.start("one"), processes.start("other")
    fill(one, 2)
    with closing(one.reindex()) as steps:
        next(steps)  # type: ignore[call-overload]
        with pytest.raises(KnowledgeError, match="Another process is rebuilding"):
            list(other.reindex())
        assert finds_everything(other, range(6))
    list(other.reindex())
    assert finds_everything(one, range(6))


def test_another_embedder_is_refused_by_every_process(processes: Processes) -> None:
    class Other(HashEmbedder):
        @property
        def fingerprint(self) -> str:
            return "other"

    one, other = processes.start("one"), processes.start("other", Other())
    fill(one, 1)
    with pytest.raises(IndexDamaged, match="embedd"):
        put(other, "x.md", ["mixed"])
    with pytest.raises(IndexDamaged, match="embedded with"):
        other.retrieve(["anything"], 1)
    assert finds_everything(one, range(3))


def test_threads_of_two_processes_change_and_search_at_once(processes: Processes) -> None:
    one, other = processes.start("one"), processes.start("other")
    fill(one, 2)
    failed: list[BaseException] = []

    def write(store: KnowledgeStore, name: str) -> None:
        try:
            for i in range(12):
                put(store, f"{name}{i}.md", [f"{name} word{name}{i} about it"])
        except BaseException as error:
            failed.append(error)

    def read(store: KnowledgeStore) -> None:
        try:
            for _ in range(25):
                assert found(store, text_of(1), 1) == [text_of(1)]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(store, name)) for store, name in ((one, "a"), (other, "b"))]
    threads += [threading.Thread(target=read, args=(store,)) for store in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for store in (one, other):
        assert store.count() == 30 and store.degraded is None
        for name in "ab":
            assert all(found(store, f"word{name}{i}", 1) == [f"{name} word{name}{i} about it"] for i in range(12))
        assert store._dense._index is not None and store._dense._index.count() == 30


INGEST = """
import sys
from pathlib import Path
from contextlib import closing
from knowledge.database import open_engine
from knowledge.embedding import HashEmbedder
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
engine = open_engine(sys.argv[1])
with closing(KnowledgeStore(engine, Path(sys.argv[2]) / "chroma", HashEmbedder(), sys.argv[3])) as store:
    for step in ingest(store, [Path(sys.argv[4])]):
        pass
    print(step.added, len(step.failed))
engine.dispose()
"""


def test_processes_that_ingest_at_once_lose_nothing(
    processes: Processes, url: str, tmp_path: Path, chroma_of_session: ChromaServer
) -> None:
    running = []
    for name in ("a", "b", "c"):
        docs = tmp_path / f"docs-{name}"
        docs.mkdir()
        for i in range(40):
            (docs / f"{i:02}.md").write_text(f"# Page {name}{i}\n\nword{name}{i} here.")
        home = tmp_path / f"home-{name}"
        command = [sys.executable, "-c", INGEST, url, str(home), chroma_of_session.url, str(docs)]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    for process in running:
        told, _ = process.communicate()
        assert (process.returncode, told.split()) == (0, ["40", "0"])
    store = processes.start("after")
    assert store.count() == 120 and store.degraded is None
    assert store._dense._index is not None and store._dense._index.count() == 120
    assert all("here" in found(store, f"word{name}{i}", 1)[0] for name in "abc" for i in (0, 17, 39))


def test_homes_without_a_shared_index_answer_right_and_say_so(url: str, tmp_path: Path) -> None:
    with ExitStack() as opened:
        processes = Processes(url, tmp_path, "", opened)
        one, other = processes.start("one"), processes.start("other")
        fill(one, 3)
        assert finds_everything(one, range(9)) and one.degraded is None
        assert finds_everything(other, range(9)) and "`chroma`" in (other.degraded or "")
        put(other, "new.md", ["saffron of the other"])
        assert found(one, "saffron", 1) == found(other, "saffron", 1) == ["saffron of the other"]
        assert one.degraded is None
