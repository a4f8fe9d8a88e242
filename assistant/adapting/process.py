"""The process of one job: general rows, training, gate; each stage is skipped where its result is there already.

`python -m assistant.adapting.process FOLDER`, started by `jobs.py`. It stands aside whenever a question is answered.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from adapters import job
from adapters.errors import AdapterError
from adapters.train import step_aside
from assistant.adapting.jobs import LOG, PLAN
from assistant.adapting.stages import run_stage
from assistant.answering import is_answering

LOOK_SECONDS = 0.03
"""How soon a training notices that somebody asks, and that nobody does any more."""


def care(folder: Path) -> None:
    """See to it that a job is done."""
    step_aside()
    lock = job.claim(folder, job.CARES)
    if not (folder / job.GENERAL).exists():
        _stage(folder, "assistant.adapting.general")
    if job.result(folder) is None and (folder / job.GENERAL).exists():
        _stage(folder, "adapters.train")
    if job.result(folder) is not None:
        _stage(folder, "assistant.adapting.judging")
    os.close(lock)


def _stage(folder: Path, module: str) -> None:
    """Work in a child, which stands still whenever a question is answered.

    Merely being nice is not enough: the threads of an engine wait for one another, and one that is kept off its core
    keeps them all.
    """
    home = Path(json.loads((folder / PLAN).read_text(encoding="utf-8"))["settings"]["home"])
    command = [sys.executable, "-m", module, str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    stands_still = False
    while child.poll() is None:
        if is_answering(home) != stands_still:
            stands_still = not stands_still
            child.send_signal(signal.SIGSTOP if stands_still else signal.SIGCONT)
        time.sleep(LOOK_SECONDS)
    if child.returncode and job.state(folder)["stage"] not in ("failed", "cancelled"):
        raise AdapterError(f"{module} ended with status {child.returncode}; {folder / LOG} may say why.")


def _die_with_parent() -> None:
    """A child that stands still could not notice that nobody is left to wake it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(run_stage(care))
