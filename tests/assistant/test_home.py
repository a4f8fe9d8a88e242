"""RUNGS_HOME: one owner, nothing stale believed, nothing readable by others."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assistant.errors import AssistantError, HomeInUse
from assistant.home import RunningServer, announced, owned, running_server

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from pathlib import Path
from assistant.home import announced, owned

with owned(Path(sys.argv[1])) as home, announced(home, "http://127.0.0.1:1"):
    print("owned", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(home)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None and owner.stdout.readline() == "owned\n"
    try:
        yield owner
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_owner_is_refused_by_name_and_the_first_one_goes_on(tmp_path: Path) -> None:
    with another_process(tmp_path) as owner:
        with pytest.raises(HomeInUse, match=rf"pid {owner.pid}\)"), owned(tmp_path):
            pytest.fail("two own it")
        server = running_server(tmp_path)
        assert server is not None and server.pid == owner.pid
        assert owner.poll() is None


def test_an_owner_that_was_killed_leaves_nothing_behind_that_counts(tmp_path: Path) -> None:
    with another_process(tmp_path) as owner:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert (tmp_path / "server.json").exists()
        assert running_server(tmp_path) is None
        with owned(tmp_path):
            assert running_server(tmp_path) is None, "its file was believed under another owner"
            assert not (tmp_path / "server.json").exists()


def test_a_server_is_announced_to_its_owner_alone_and_for_as_long_as_it_runs(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    assert running_server(home) is None
    with owned(home), announced(home, "http://127.0.0.1:7860") as server:
        assert running_server(home) == server == RunningServer("http://127.0.0.1:7860", server.token, os.getpid())
        assert len(server.token) >= 32
        assert (mode(home), mode(home / "server.json"), mode(home / "lock")) == (0o700, 0o600, 0o600)
    assert running_server(home) is None and not (home / "server.json").exists()


def test_every_start_has_its_own_token(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with owned(tmp_path), announced(tmp_path, "http://127.0.0.1:1") as server:
            tokens.add(server.token)
    assert len(tokens) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": "x", "token": "y", "pid": "z"}', "\0"])
def test_a_damaged_announcement_is_none(tmp_path: Path, content: str) -> None:
    with owned(tmp_path):
        (tmp_path / "server.json").write_text(content)
        assert running_server(tmp_path) is None


def test_the_home_is_free_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), owned(tmp_path), announced(tmp_path, "http://127.0.0.1:1"):
        raise RuntimeError
    with owned(tmp_path):
        assert not (tmp_path / "server.json").exists()


def test_looking_for_a_server_never_keeps_an_owner_out(tmp_path: Path) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            running_server(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    with owned(tmp_path):
        pass
    for looker in lookers:
        looker.start()
    try:
        for _ in range(30):
            with owned(tmp_path):
                pass
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_place_that_cannot_be_a_home_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below", Path("/proc/nowhere")):
        with pytest.raises(AssistantError, match=f"{place}.*--home"), owned(place):
            pytest.fail("that is no home")
        assert running_server(place) is None


def test_a_home_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with owned(tmp_path):
        assert mode(tmp_path) == 0o755


def test_an_announcement_is_json_that_a_shell_can_read(tmp_path: Path) -> None:
    with owned(tmp_path), announced(tmp_path, "http://[::1]:80") as server:
        assert json.loads((tmp_path / "server.json").read_text()) == {
            "url": "http://[::1]:80", "token": server.token, "pid": os.getpid()
        }  # fmt: skip
