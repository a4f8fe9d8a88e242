"""Chroma folders that vanished, are corrupt, locked, stale or dishonest: noticed, rebuilt, never believed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from knowledge import dense, index
from knowledge.errors import IndexDamaged, StorageFull
from tests.knowledge.storing import (
    finds_everything,
    found,
    opened,
    put,
    text_of,
)

MANY = 1100
"""Enough that Chroma has written its HNSW files: it does so each 1,000 vectors."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("healthy")
    with opened(home) as store:
        put(store, "many.md", many_texts())
    return home


@pytest.fixture
def home(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "home"))


def many_texts() -> list[str]:
    rng = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [" ".join("".join(rng.choices(letters, k=6)) for _ in range(12)) for _ in range(MANY)]


def folder(home: Path) -> Path:
    (found_,) = (home / "chroma").iterdir()
    return found_


def segment(home: Path) -> Path:
    (found_,) = (path for path in folder(home).iterdir() if path.is_dir())
    return found_


def overwrite(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\0" * length)


def in_sqlite(home: Path, *statements: str) -> None:
    with sqlite3.connect(folder(home) / "chroma.sqlite3") as connection:
        for statement in statements:
            connection.execute(statement)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "chroma folder gone": lambda home: shutil.rmtree(home / "chroma"),
    "index folder gone": lambda home: shutil.rmtree(folder(home)),
    "chroma.sqlite3 gone": lambda home: (folder(home) / "chroma.sqlite3").unlink(),
    "hnsw folder gone": lambda home: shutil.rmtree(segment(home)),
    "hnsw vectors zeroed": lambda home: overwrite(
        segment(home) / "data_level0.bin", 0, (segment(home) / "data_level0.bin").stat().st_size
    ),
    "hnsw vectors truncated": lambda home: os.truncate(segment(home) / "data_level0.bin", 1000),
    "hnsw header zeroed": lambda home: overwrite(segment(home) / "header.bin", 0, 100),
    "hnsw names garbage": lambda home: (segment(home) / "index_metadata.pickle").write_bytes(b"garbage"),
    "sqlite first page zeroed": lambda home: overwrite(folder(home) / "chroma.sqlite3", 0, 4096),
    "sqlite later pages zeroed": lambda home: overwrite(folder(home) / "chroma.sqlite3", 4096, 40 * 4096),
    "sqlite truncated": lambda home: os.truncate(folder(home) / "chroma.sqlite3", 20_000),
    "sqlite empty": lambda home: os.truncate(folder(home) / "chroma.sqlite3", 0),
    "sqlite is text": lambda home: (folder(home) / "chroma.sqlite3").write_text("not a database " * 1000),
    "collection gone": lambda home: in_sqlite(home, "DELETE FROM collections"),
    "manifest gone": lambda home: in_sqlite(home, "DELETE FROM collection_metadata"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_index_is_noticed_and_rebuilt(home: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    DAMAGE[what](home)
    with opened(home) as store:
        assert "Rebuilding it from the catalogue" in caplog.text
        assert store.degraded is None
        assert all(found(store, text, 1) == [text] for text in many_texts()[::50])
        assert len(list((home / "chroma").iterdir())) == 1
    caplog.clear()
    with opened(home) as store:
        assert store.degraded is None
    assert not caplog.records


def test_a_healthy_index_opens_in_well_under_a_second(home: Path) -> None:
    with opened(home):
        pass  # chromadb is imported now
    start = time.monotonic()
    with opened(home) as store:
        seconds = time.monotonic() - start
        assert store.degraded is None
    assert seconds < 0.9


def test_an_older_copy_of_the_index_is_noticed(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(home / "chroma", tmp_path / "backup")
    with opened(home) as store:
        put(store, "many.md", [*many_texts()[:-1], "a new last paragraph about quince"], fingerprint="v2")
        assert found(store, "quince", 1)
    shutil.rmtree(home / "chroma")
    (tmp_path / "backup").rename(home / "chroma")
    with opened(home) as store:
        assert store.degraded is None
        hits = store.retrieve(["a new last paragraph about quince"], 1)
        assert hits[0].dense_rank == 0


@pytest.mark.parametrize("way", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"])
def test_an_index_locked_by_another_process_does_not_stop_the_store(
    home: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LOCK_SECONDS", 0.5)
    program = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        f"c.execute({way!r}); print('locked', flush=True); time.sleep(60)"
    )
    path = folder(home) / "chroma.sqlite3"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == "locked\n"
            start = time.monotonic()
            with opened(home) as store:
                assert time.monotonic() - start < 12
                text = many_texts()[3]
                assert found(store, text, 1) == [text]
                put(store, "new.md", ["a word about tamarind"])
                assert found(store, "tamarind", 1) == ["a word about tamarind"]
        finally:
            holder.kill()
    with opened(home) as store:
        assert store.degraded is None
        assert store.retrieve(["a word about tamarind"], 1)[0].dense_rank == 0


def test_where_no_index_can_be_written_everything_is_found_without_it(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(home / "chroma")
    (home / "chroma").write_text("a file where the folder should be")
    with opened(home) as store:
        assert store.degraded is not None and "rungs reindex" in store.degraded
        text = many_texts()[500]
        hit = store.retrieve([text], 1)[0]
        assert hit.passage.text == text and hit.dense_rank == 0 and hit.similarity > 0.8
        put(store, "new.md", ["a word about tamarind"])
        assert found(store, "tamarind", 1) == ["a word about tamarind"]
        (home / "chroma").unlink()
        list(store.reindex())
        assert store.degraded is None and found(store, "tamarind", 1) == ["a word about tamarind"]
    caplog.clear()
    with opened(home) as store:
        assert store.degraded is None


def test_a_large_damaged_index_is_rebuilt_behind_and_found_exactly_meanwhile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "REPAIRED_AT_OPEN", 10)
    shutil.rmtree(home / "chroma")
    with opened(home) as store:
        text = many_texts()[700]
        assert found(store, text, 1) == [text]
        repairing = store._dense._repairing
        assert repairing is not None
        repairing.join(60)
        assert store.degraded is None
        assert found(store, text, 1) == [text]


@pytest.mark.parametrize("error", [IndexDamaged("the query failed."), StorageFull("no room.")])
def test_an_index_that_fails_in_service_is_replaced_by_exact_search(
    home: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(home) as store:
        text = many_texts()[10]
        healthy = store.retrieve([text], 1)[0].passage.id

        def broken(*_: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(store._dense._index, "nearest", broken)
            assert store.retrieve([text], 1)[0].passage.id == healthy
            assert store.degraded is not None and str(error) in store.degraded
        assert store.retrieve([text], 5) and store.degraded is None


def test_what_the_index_could_not_take_is_found_and_taken_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(home) as store:

        def full(*_: object) -> None:
            raise StorageFull("no room.")

        with monkeypatch.context() as patch:
            patch.setattr(store._dense._index, "put", full)
            put(store, "new.md", ["a word about tamarind"])
            hit = store.retrieve(["a word about tamarind"], 1)[0]
            assert hit.dense_rank == 0 and store.degraded is not None
        store._dense._retry_at = 0.0
        assert found(store, "tamarind", 1) and store.degraded is None


def test_a_panic_of_chroma_is_an_index_damaged() -> None:
    class PanicException(BaseException):
        """Named as the one that pyo3 raises, which cannot be made from Python."""

    with pytest.raises(IndexDamaged, match="index out of range"), index.explained("query"):
        raise PanicException("index out of range")
    with pytest.raises(KeyboardInterrupt), index.explained("query"):
        raise KeyboardInterrupt


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from knowledge import dense, index
from tests.knowledge.storing import *

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

home = Path({home!r})
with opened(home) as store:
    fill(store, 4)
    found(store, "lamp")
    store.remove(SOURCE, ["d0.md"])
    {fault}
    put(store, "late.md", ["a late word about rhubarb"])
    store.remove(SOURCE, ["d1.md"])
    found(store, "rhubarb")
    die()
"""

FAULTS = {
    "before the index hears of it": "dense.DenseSearch.changed = die",
    "before the index is written": "index.VectorIndex.put = die",
    "between deleting and writing": "index.VectorIndex.remove = die",
    "before the backlog is cleared": "dense.catalog.clear_backlog = die",
    "without any warning": "pass",
    "while rebuilding": "dense.DenseSearch._swap = die; list(store.reindex())",
}


@pytest.mark.parametrize("when", FAULTS)
def test_a_kill_leaves_whole_documents_and_is_caught_up(tmp_path: Path, when: str) -> None:
    root = str(Path(__file__).resolve().parents[2])
    program = KILLED.format(root=root, home=str(tmp_path), fault=FAULTS[when])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with opened(tmp_path) as store:
        assert store.degraded is None
        survivors = {document.path: document.passages for document in store.documents()}
        assert set(survivors) <= {"d1.md", "d2.md", "d3.md", "late.md"}
        assert all(survivors[path] == (1 if path == "late.md" else 3) for path in survivors)
        assert {"d2.md", "d3.md"} <= set(survivors)
        assert store._dense._index is not None and store._dense._index.count() == store.count()
        assert finds_everything(store, range(6, 12))
        if "late.md" in survivors:
            assert store.retrieve(["a late word about rhubarb"], 1)[0].dense_rank == 0
        assert text_of(0) not in found(store, text_of(0), 30)
    assert len(list((tmp_path / "chroma").iterdir())) == 1


def test_random_kills_while_ingesting_never_leave_half_a_document(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})\n"
        "from pathlib import Path\nfrom knowledge import dense\nfrom tests.knowledge.storing import *\n"
        "dense.BATCH = 8\n"
        f"with opened(Path({str(tmp_path)!r})) as store:\n"
        "    print('ready', flush=True)\n"
        "    for number in range(10_000):\n"
        "        texts = [f'{text_of(number)} {i}' for i in range(5)]\n"
        "        put(store, f'd{number % 40}.md', texts, fingerprint=str(number))\n"
        "        print(number, flush=True)\n"
    )
    rng = random.Random(1)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout and writer.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.1, 0.8))
            writer.kill()
            acknowledged = [int(line) for line in writer.stdout.read().split()]
        with opened(tmp_path) as store:
            assert store.degraded is None
            assert all(document.passages == 5 for document in store.documents())
            known = store.known("manual")
            assert store._dense._index is not None and store._dense._index.count() == store.count()
            last = {f"d{number % 40}.md": number for number in acknowledged}
            assert all(int(known[path]) >= number for path, number in last.items() if path in known)
            assert last.keys() <= known.keys()
