"""`rungs serve` as a process of its own, on a scripted model that takes its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 120
SERVE = """
from assistant.models import MODELS
from assistant.models.scripted import ScriptedModel
MODELS["scripted"] = lambda settings, adapters=None: ScriptedModel(seconds_per_token={seconds})
from ui.cli.main import main
main()
"""
SETTINGS = {"RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}


@dataclass(frozen=True)
class Served:
    """A process that serves."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    log: Path

    @property
    def said(self) -> str:
        """What it wrote to its output and its log."""
        return self.log.read_text()


@contextmanager
def process(folder: Path, seconds_per_token: float = 0.0, **settings: str) -> Iterator[Served]:
    """Started on `folder`/home, killed at the end where it still runs."""
    home, log = folder / "home", folder / "log"
    command = [sys.executable, "-c", SERVE.format(seconds=seconds_per_token), "serve", "--port", "0"]
    environment = {**os.environ, **SETTINGS, "RUNGS_HOME": str(home), **settings}
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out) as run:
        try:
            until = time.monotonic() + WAIT_SECONDS
            while "ready" not in log.read_text():
                assert run.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            told = json.loads((home / "server.json").read_text())
            yield Served(run, told["url"], told["token"], log)
        finally:
            run.kill()
