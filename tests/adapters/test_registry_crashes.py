"""The registry under full disks, kills and crowds: every decision is kept, and no adapter is ever half there."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import pytest

from adapters.disk import locked
from adapters.errors import AdapterError
from tests.adapters.samples import ACCEPTED, adapter, added, card, registry

ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    one = added(tmp_path, 1, gate=ACCEPTED)
    registry(tmp_path).promote("support", one, "Ada")
    two = added(tmp_path, 2, gate=ACCEPTED)
    before = files(tmp_path / "home")
    folder = adapter(tmp_path / "c", 3)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if call == "write":
            patched.setattr("adapters.disk.os.fdopen", full)
        elif call == "fsync":
            patched.setattr("adapters.disk.os.fsync", full)
        else:
            patched.setattr("pathlib.Path.rename", full)
            patched.setattr("pathlib.Path.replace", full)
        for act in (
            lambda: registry(tmp_path).add(folder, card()),
            lambda: registry(tmp_path).promote("support", two, "Ada"),
        ):
            with pytest.raises(AdapterError, match="No space left"):
                act()
    assert {name: raw for name, raw in files(tmp_path / "home").items() if ".part" not in name} == before
    assert registry(tmp_path).promote("support", two, "Ada").stage == "live"
    assert registry(tmp_path).add(folder, card()).stage == "candidate"


def test_readers_are_served_while_a_hundred_revisions_come_and_go(tmp_path: Path) -> None:
    one, two = added(tmp_path, 1, gate=ACCEPTED), added(tmp_path, 2, gate=ACCEPTED)
    registry(tmp_path).promote("support", one, "Ada")
    done, failures, served = threading.Event(), [], []

    def read() -> None:
        while not done.is_set():
            try:
                served.append(registry(tmp_path).load("support").card.revision)
                assert {made.stage for made in registry(tmp_path).list().cards} <= {"live", "retired", "candidate"}
            except BaseException as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(50):
        registry(tmp_path).promote("support", two, "Ada", "load test")
        registry(tmp_path).record_gate("support", one, ACCEPTED)
        registry(tmp_path).rollback("support", "Ada")
    done.set()
    for reader in readers:
        reader.join()
    assert not failures and set(served) <= {one, two}
    assert registry(tmp_path).live() == {"support": one}
    assert len(registry(tmp_path).show("support", two).history) == 100


def test_threads_and_processes_lose_no_decision(tmp_path: Path) -> None:
    revisions = [added(tmp_path, seed, gate=ACCEPTED) for seed in (1, 2, 3)]
    command = [sys.executable, "-m", "tests.adapters.registry_worker", "storm", str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        for number in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told: list[str] = []
    for worker in workers:
        heard, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
        told += heard.splitlines()
    changes = [change for revision in revisions for change in registry(tmp_path).show("support", revision).history]
    promoted = [change.reason for change in changes if change.stage == "live"]
    assert len(told) > 30 and sorted(told) == sorted(str(reason) for reason in promoted)
    assert len(changes) == 2 * len(promoted) - 1, "each promotion but the first retired one revision"
    assert len(registry(tmp_path).live()) == 1


def test_adapters_that_are_added_at_once_are_all_there(tmp_path: Path) -> None:
    folders = [adapter(tmp_path / str(seed), seed) for seed in range(6)]
    threads = [threading.Thread(target=registry(tmp_path).add, args=(folder, card())) for folder in folders * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry(tmp_path).list().cards) == 6
    assert not [path for path in (tmp_path / "home" / "adapters").iterdir() if path.name.startswith(".incoming")]


@pytest.mark.parametrize("action", ["add", "import", "gate", "promote", "rollback", "remove"])
def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, action: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.adapters.registry_worker", action, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= 5, "the action was killed at fewer steps than it has"


def test_kills_at_random_moments_lose_no_acknowledged_decision(tmp_path: Path) -> None:
    for seed in (1, 2):
        added(tmp_path, seed, gate=ACCEPTED)
    moments = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(6):
        command = [sys.executable, "-m", "tests.adapters.registry_worker", "loop", str(tmp_path)]
        worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        timer = threading.Timer(moments.uniform(0.01, 0.3), worker.kill)
        timer.start()
        acknowledged += [line.strip() for line in worker.stdout if line.endswith("\n")]
        worker.wait()
        worker.stdout.close()
        cards = registry(tmp_path).list().cards
        changes = [change for made in cards for change in made.history if change.stage == "live"]
        assert set(acknowledged) <= {f"{change.revision} {change.at}" for change in changes}
        latest = max(changes, key=lambda change: change.at)
        assert registry(tmp_path).load("support").card.revision == latest.revision
    assert len(acknowledged) > 6


def test_what_a_killed_call_left_is_swept_and_what_a_running_one_makes_is_not(tmp_path: Path) -> None:
    added(tmp_path)
    root = tmp_path / "home" / "adapters"
    shutil.copytree(adapter(tmp_path / "left"), root / ".incoming-left")
    (root / ".removed-left").mkdir()
    (root / ".incoming-running").mkdir()
    owner = os.open(root / ".incoming-running", os.O_RDONLY)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX)
        added(tmp_path, 2)
        left = {path.name for path in root.iterdir()}
        assert ".incoming-running" in left and not {".incoming-left", ".removed-left"} & left
    finally:
        os.close(owner)


def test_a_lock_that_is_never_given_back_is_said(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AdapterError, match="another process"), locked(tmp_path / "lock", 0.05):
            pass
