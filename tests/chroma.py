"""A real Chroma server for tests: `chroma run` of the installed package, on loopback, in a temporary folder."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 30.0


class ChromaServer:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it on the folder as it is.

        Raises:
            TimeoutError: it does not answer.
        """
        program = Path(sys.executable).with_name("chroma")
        where = ["--path", str(self._folder), "--host", "127.0.0.1", "--port", str(self._port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([program, "run", *where], stdout=quiet, stderr=quiet, cwd=self._folder)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError(f"chroma run does not answer on {self.url}")

    def stop(self) -> None:
        """Stop it as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
