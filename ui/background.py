"""Long work that a page starts and leaves: one at a time of each kind, in threads of the server, its steps kept.

A page that is closed stops nothing, and whoever opens it again finds the work as it stands. What a stop of the server
cuts off can be started again: commands are made for that. Made by `server.py`, used by the console.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError
from ui.advancing import Advancing
from ui.commands.steps import Step
from ui.control import run_command

if TYPE_CHECKING:
    from assistant.build import Rungs

LEAVE_SECONDS = 10.0
"""How long a stop of the server waits for a step that is under way."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work of one kind as it stands."""

    kind: str
    title: str
    by: str
    started_at: str
    done: int = 0
    total: int = 0
    label: str = ""
    running: bool = True
    cancelled: bool = False
    """Somebody asked it to stop."""
    result: Mapping[str, Any] | None = None
    error: str | None = None


class Background:
    """The work of one server. Safe to use from several threads."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._work: dict[str, tuple[Advancing[Step], threading.Thread]] = {}

    def start(self, kind: str, title: str, command: str, arguments: Mapping[str, Any], by: str) -> Job:
        """Begin; it goes on whoever leaves.

        Args:
            kind: of this there is one at a time.
            title: what it is, for people.
            command: one of `ui.commands.table.COMMANDS`.
            arguments: of the command.
            by: who asked for it.

        Raises:
            AssistantError: work of this kind is under way.
        """
        with self._lock:
            present = self._jobs.get(kind)
            if present and present.running:
                raise AssistantError(f"{present.title} is under way. Wait for it, or stop it.")
            cancel = threading.Event()
            work = Advancing(run_command(self._rungs, command, arguments, cancel), cancel)
            job = Job(kind, title, by, datetime.now(UTC).isoformat(timespec="seconds"))
            thread = threading.Thread(target=self._run, args=(kind, work), name=f"background {kind}", daemon=True)
            self._jobs[kind], self._work[kind] = job, (work, thread)
        thread.start()
        return job

    def job(self, kind: str) -> Job | None:
        """The latest of a kind; None where there was none since the server started."""
        with self._lock:
            return self._jobs.get(kind)

    def cancel(self, kind: str) -> None:
        """Ask it to stop; what it did so far stays done."""
        with self._lock:
            job, pair = self._jobs.get(kind), self._work.get(kind)
            if not (job and job.running and pair):
                return
            self._jobs[kind] = replace(job, cancelled=True)
        pair[0].stop()

    def close(self) -> None:
        """Stop everything and wait a little for it. Idempotent."""
        for kind in list(self._jobs):
            self.cancel(kind)
        for _, thread in list(self._work.values()):
            thread.join(LEAVE_SECONDS)

    def _run(self, kind: str, work: Advancing[Step]) -> None:
        while (step := work.advance()) is not None:
            with self._lock:
                self._jobs[kind] = _after(self._jobs[kind], step)
        with self._lock:
            self._jobs[kind] = replace(self._jobs[kind], running=False)


def _after(job: Job, step: Mapping[str, Any]) -> Job:
    if "progress" in step:
        told = step["progress"]
        return replace(job, done=told["done"], total=told["total"], label=told["label"])
    if "result" in step:
        return replace(job, result=step["result"])
    return replace(job, error=step["error"]) if "error" in step else job
