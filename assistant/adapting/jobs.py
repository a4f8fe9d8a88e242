"""Jobs at work: start one apart from whoever asked, tell how far it is, stop it, go on with it.

A job outlives a reload, and a server that stops; where it was killed it goes on from its last whole checkpoint. What
runs is `process.py`. Called by the commands and the console.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters import job
from adapters.errors import AdapterError
from knowledge.types import Progress

JOBS = "training"
PLAN, GATE, SPEED, LOG = "plan.json", "gate.jsonl", "speed.json", "log.txt"
GATES = "gates"
"""Folder of a home for what gates asked and were told."""
POLL_SECONDS = 0.5
SILENT_MAX = 10
"""Looks at a job that no process holds, after which its process counts as dead."""
STARTING_MAX = 120
"""The same for one that was just started, whose first imports may take long on a busy machine."""
ROOT = Path(__file__).resolve().parents[2]
_JOB_NAME = re.compile(r"(?P<name>.+)-\d{8}-\d{6}")


def discard(folder: Path) -> None:
    """Remove a job that was only looked at."""
    shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path) -> None:
    """Let a process of its own train, judge and take in the job; it goes on when this one ends.

    Raises:
        AdapterError: it is running already.
    """
    if job.is_running(folder):
        raise AdapterError(f"{folder.name} is being trained already. Wait for it, or cancel it.")
    with suppress(FileNotFoundError):
        (folder / job.CANCEL).unlink()
    job.tell(folder, "stage", label="starting")
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "assistant.adapting.process", str(folder.resolve())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name=f"reaps-{folder.name}", daemon=True).start()


def follow(folder: Path, cancel: threading.Event) -> Iterator[Progress]:
    """How far a job is, until it is over. Once `cancel` is set, or this is closed, the job saves and stops.

    Raises:
        AdapterError: it failed, or its process died.
    """
    over = False
    silent = 0
    try:
        while not over:
            state = job.state(folder)
            over = state["stage"] in ("done", "failed", "cancelled")
            if over:
                continue
            if cancel.is_set():
                job.cancel(folder)
            silent = 0 if job.is_running(folder) or state["stage"] == "starting" else silent + 1
            if silent > SILENT_MAX:
                raise AdapterError(
                    f"the process that trained {folder.name} died ({_last_words(folder)}). {_resume(folder)}"
                )
            yield _as_progress(state)
            time.sleep(POLL_SECONDS)
    finally:
        if not over:
            job.cancel(folder)
    if state["stage"] != "done":
        reason = state.get("reason") or "stopped"
        raise AdapterError(f"training {folder.name}: {reason}. {_resume(folder)}" if reason == "cancelled" else reason)


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished job came to: the command's result."""
    done = next(line for line in reversed(list(job.told(folder))) if line["kind"] == "done")
    trained = job.result(folder) or {}
    return {
        "adapter": done["adapter"],
        "revision": done["revision"],
        "seconds": trained.get("seconds"),
        "loss_first": trained.get("loss_first"),
        "loss_last": trained.get("loss_last"),
        "loss_held_out": trained.get("loss_held_out"),
        "tokens_per_second": trained.get("tokens_per_second"),
        "gate": done.get("gate"),
    }


def jobs(home: Path) -> list[Path]:
    """The jobs of a home, newest first."""
    folder = home / JOBS
    found = [path for path in folder.iterdir() if _JOB_NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.name[-15:], reverse=True)


def unfinished(home: Path, name: str) -> Path:
    """The newest job of an adapter that is not over.

    Raises:
        AdapterError: there is none.
    """
    for folder in jobs(home):
        match = _JOB_NAME.fullmatch(folder.name)
        if match and match["name"] == name and job.state(folder)["stage"] != "done":
            return folder
    raise AdapterError(f"there is no unfinished training of {name}.")


def dry_run(folder: Path, seconds: float, cancel: threading.Event) -> Iterator[Progress | dict[str, Any]]:
    """Train for some seconds, keep nothing; last the measured speed and what the whole would take."""
    process = subprocess.Popen(
        [sys.executable, "-m", "adapters.train", str(folder), "--dry-run", str(seconds)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that it can step aside without whoever asked
    )
    started = time.monotonic()
    try:
        while process.poll() is None:
            if cancel.wait(POLL_SECONDS):
                raise AdapterError("the dry run was stopped.")
            passed = int(min(seconds, time.monotonic() - started))
            yield Progress(passed, int(seconds), job.state(folder)["stage"])
    finally:
        process.kill()
        _, words = process.communicate()
    speed = job.state(folder).get("speed")
    if process.returncode or not speed or not speed.get("tokens_per_second"):
        raise AdapterError(f"the dry run failed: {words.decode(errors='replace').strip()[-300:] or 'too few steps'}")
    remember_speed(folder.parent.parent, speed["tokens_per_second"])
    yield {"tokens_per_second": round(speed["tokens_per_second"], 1), "peak_bytes": speed["peak_bytes"]}


def known_speed(home: Path) -> float | None:
    """Tokens per second of the last training on this machine."""
    try:
        return float(json.loads((home / JOBS / SPEED).read_text(encoding="utf-8"))["tokens_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_speed(home: Path, tokens_per_second: float) -> None:
    """Keep it for the next estimate."""
    with suppress(OSError):
        (home / JOBS / SPEED).write_text(json.dumps({"tokens_per_second": tokens_per_second}), encoding="utf-8")


def _as_progress(state: Mapping[str, Any]) -> Progress:
    """A job's state as the progress that every surface shows."""
    if state["stage"] in ("general", "gate"):
        done, total, label = state["asking"]
        return Progress(done, total, f"{state['stage']} questions: {label}")
    if not state["steps"]:
        return Progress(0, 1, state["stage"])
    parts = [f"loss {state['loss_smoothed']:.2f}"]
    if state.get("tokens_per_second"):
        parts.append(f"{state['tokens_per_second']:.0f} tokens/s")
    return Progress(state["step"], state["steps"], ", ".join(parts) if state["stage"] == "training" else state["stage"])


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no word"
    return lines[-1][:300] if lines else "it left no word"


def _resume(folder: Path) -> str:
    match = _JOB_NAME.fullmatch(folder.name)
    return f"Go on with: rungs train --resume --name {match['name'] if match else folder.name}"
