"""The parsers' own process: what goes wrong there stays there."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders.sandbox import Worker
from tests.knowledge.loaders.test_docx import paragraph, write

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("docx") / "small.docx", paragraph("Small text."))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("docx") / "slow.docx", paragraph("Some text.") * 60_000)


def test_one_process_serves_many_files(worker: Worker, small: Path) -> None:
    worker.run("docx", small)
    process = worker._process
    assert worker.run("docx", small).sections[0].text == "Small text."
    assert worker._process is process


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(worker: Worker, small: Path, slow: Path) -> None:
    worker.run("docx", small)
    worker.seconds = 0.5
    started = time.monotonic()
    with pytest.raises(UnreadableDocument, match=r"slow\.docx: took longer"):
        worker.run("docx", slow)
    assert time.monotonic() - started < 5
    worker.seconds = 60
    assert worker.run("docx", small).sections


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits are only sure to hold on Linux")
def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_is_read(small: Path, slow: Path) -> None:
    worker = Worker(memory_bytes=150_000_000)
    try:
        with pytest.raises(UnreadableDocument, match=r"slow\.docx: (needs more memory|broke|is damaged)"):
            worker.run("docx", slow)
        assert worker.run("docx", small).sections
    finally:
        worker.close()


def test_a_process_that_died_is_replaced(worker: Worker, small: Path) -> None:
    worker.run("docx", small)
    assert worker._process is not None
    worker._process.kill()
    worker._process.wait()
    assert worker.run("docx", small).sections


def test_a_missing_part_of_the_installation_is_not_blamed_on_the_file(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pypdfium2.py").write_text("raise ImportError('no pypdfium2 here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Worker()
    try:
        with pytest.raises(UnreadableDocument, match=r"small\.docx: cannot be read: .*no pypdfium2 here.*make setup"):
            worker.run("docx", small)
        monkeypatch.delenv("PYTHONPATH")
        assert worker.run("docx", small).sections
    finally:
        worker.close()


def test_the_process_ends_with_its_parent(small: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from knowledge.loaders import sandbox\n"
        "sandbox.run('docx', Path(sys.argv[1])); print(sandbox._worker._process.pid, flush=True); os._exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(small)], cwd=ROOT, capture_output=True, text=True)
    import psutil

    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(done.stdout)) and time.monotonic() < deadline:
        if psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    assert not psutil.pid_exists(int(done.stdout))


def test_a_parser_can_open_no_connection_and_start_no_program() -> None:
    code = """
import sys, socket, subprocess
from knowledge.loaders.worker import _forbid
sys.addaudithook(_forbid)
for attempt in (lambda: socket.create_connection(("127.0.0.1", 9)), lambda: subprocess.run(["true"])):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["refused", "refused"], done.stderr
