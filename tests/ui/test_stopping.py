"""A served home that is told to stop leaves nothing open behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ui.browsing import ROOT, RUNGS

WAIT_SECONDS = 120


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_everything(tmp_path: Path, number: signal.Signals) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    command = [sys.executable, "-c", RUNGS, "serve", "--port", "0", "--home", str(home)]
    environment = {**os.environ, "RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out) as server:
        try:
            until = time.monotonic() + WAIT_SECONDS
            while "ready" not in log.read_text():
                assert server.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            server.send_signal(number)
            server.wait(30)
        finally:
            server.kill()
    assert "Traceback" not in log.read_text()
    assert not (home / "server.json").exists()
    assert not (home / "rungs.db-wal").exists()
