"""Another process that uses a registry: it kills itself at each step in turn, loops until killed, or joins a storm."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from tests.adapters.samples import ACCEPTED, REFUSED, adapter, added, card, registry

STEPS = {"open", "write", "flush", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "flock", "close"}
Check = Callable[[bool], None]


def die_at(step: int) -> None:
    """From now on, the `step`th thing that is done to the disk is the last one."""
    left = [step]

    def hook(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called.__name__ in STEPS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(hook)


def taken_in(home: Path, step: int, action: str) -> tuple[Callable[[], object], Check]:
    """Adding and importing: the revision is there and whole, or not there; and it can be added again."""
    folder, file = adapter(home / f"new-{step}", 1000 + step), home / f"{step}.zip"
    if action == "import":
        elsewhere = registry(home / "elsewhere")
        elsewhere.export_file("support", elsewhere.add(folder, card()).revision, file)
    act = {
        "add": lambda: registry(home).add(folder, card()),
        "import": lambda: registry(home).import_file(file),
    }[action]
    before = len(registry(home).list("support").cards)

    def check(done: bool) -> None:
        assert len(registry(home).list("support").cards) in ((before + 1,) if done else (before, before + 1))
        revision = act().revision
        assert registry(home).load("support", revision).card.stage == "candidate"
        assert len(registry(home).list("support").cards) == before + 1
        registry(home).remove("support", revision)

    return act, check


def decided(home: Path, step: int, action: str) -> tuple[Callable[[], object], Check]:
    """Promoting, rolling back and gating: the old state or the new one."""
    one, two = added(home, 1, gate=REFUSED), added(home, 2, gate=ACCEPTED)
    for revision in (one, two) if action == "rollback" else (one,):
        registry(home).promote("support", revision, "before", "set up")
    past = len(registry(home).show("support", two).history)
    act = {
        "promote": lambda: registry(home).promote("support", two, "Ada", f"step {step}"),
        "rollback": lambda: registry(home).rollback("support", "Ada"),
        "gate": lambda: registry(home).record_gate("support", two, REFUSED),
    }[action]

    def check(done: bool) -> None:
        loaded = registry(home).load("support")
        history = registry(home).show("support", two).history
        changed = len(history) == past + 1
        if action == "gate":
            gate = registry(home).load("support", two).card.gate
            assert gate in ((REFUSED,) if done else (ACCEPTED, REFUSED))
        else:
            assert changed or not done
            assert loaded.card.revision == (two if changed == (action == "promote") else one)
            assert not changed or history[-1].by == "Ada"

    return act, check


def removed(home: Path, step: int, action: str) -> tuple[Callable[[], object], Check]:
    """Removing: the revision is whole or gone."""
    del action
    revision = added(home, 5000 + step)

    def check(done: bool) -> None:
        there = [made.revision for made in registry(home).list("support").cards]
        assert not registry(home).list("support").problems
        assert revision not in there or not done
        if revision in there:
            assert registry(home).load("support", revision)
            registry(home).remove("support", revision)

    return lambda: registry(home).remove("support", revision), check


def at_each_step(home: Path, action: str) -> int:
    """Kill the action at its first step, at its second, and so on until it gets through. Returns the kills."""
    added(home, 1)
    prepare = {"remove": removed, "promote": decided, "rollback": decided, "gate": decided}.get(action, taken_in)
    for step in count(1):
        act, check = prepare(home, step, action)
        child = os.fork()
        if child == 0:
            die_at(step)
            act()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        check(os.WIFEXITED(status))
        added(home, 1)
        swept = adapter(home / f"sweep-{step}", 9000 + step)
        registry(home).remove("support", registry(home).add(swept, card()).revision)
        left = {path.name for path in (home / "home" / "adapters").iterdir()} - {".lock", ".part", "support"}
        assert not left, left
        for made in home.glob(f"*-{step}"):
            shutil.rmtree(made)
        if os.WIFEXITED(status):
            return step - 1
    raise AssertionError("unreachable")


def loop(home: Path) -> None:
    """Promote and roll back until killed, telling each decision once it was acknowledged."""
    one, two = sorted(made.revision for made in registry(home).list("support").cards)
    print("ready", flush=True)
    while True:
        for revision in (one, two):
            made = registry(home).promote("support", revision, "Ada", "loop")
            print(made.revision, made.history[-1].at, flush=True)
        made = registry(home).rollback("support", "Ada")
        print(made.revision, made.history[-1].at, flush=True)


def storm(home: Path, number: int) -> None:
    """Two threads that promote whatever comes, and tell each decision that was theirs."""
    revisions = [made.revision for made in registry(home).list("support").cards]

    def decide(seed: int) -> None:
        chance = random.Random(seed)
        for turn in range(20):
            reason = f"{seed} {turn}"
            made = registry(home).promote("support", chance.choice(revisions), f"worker {number}", reason)
            if made.reason == reason:  # another one may have promoted it before
                print(reason, flush=True)

    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=decide, args=(number * 10 + seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "loop":
        loop(place)
    elif what == "storm":
        storm(place, int(sys.argv[3]))
    else:
        print(at_each_step(place, what))
