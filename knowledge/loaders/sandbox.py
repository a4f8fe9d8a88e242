"""A process of its own for parsers of untrusted formats, so that a bomb, a loop or a crash takes nothing else down.

One worker (`worker.py`) is started when first needed and used again: `run` sends it a parser's name and a path, it
answers with a document or a refusal, one JSON line each. It is killed when its time is up, and replaced after a
failure. Called by the HTML, PDF and DOCX loaders.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowledge.errors import UnreadableDocument
from knowledge.types import Document, Section

SECONDS = 60.0
"""Wall-clock time for one file."""
MEMORY_BYTES = 1_500_000_000
"""Address space of the worker beyond what its interpreter and parsers hold."""
FILES_PER_WORKER = 500
WORKER = "knowledge.loaders.worker"


class Worker:
    """Starts, feeds and ends the process. One file at a time; safe to use from several threads."""

    def __init__(self, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0
        self._lock = threading.Lock()

    def run(self, parser: str, path: Path) -> Document:
        """Parse one file.

        Args:
            parser: one of `worker.PARSERS`.
            path: the file.

        Raises:
            UnreadableDocument: the parser refuses it, takes too long, needs too much memory, or dies of it.
        """
        with self._lock:
            if self._files >= FILES_PER_WORKER:
                self._end()
            process = self._started()
            late = threading.Event()

            def stop() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(self.seconds, stop)
            timer.start()
            try:
                reply = _exchange(process, {"parser": parser, "path": str(path.resolve())})
            finally:
                timer.cancel()
            self._files += 1
            if reply is None:
                self._end()
                reason = f"took longer than {self.seconds:.0f} seconds" if late.is_set() else "broke its parser"
                raise UnreadableDocument(f"{path.name}: {reason}; it may be damaged or built to do harm.")
            if reply.get("spent"):
                self._end()
        if "refused" in reply:
            raise UnreadableDocument(reply["refused"])
        sections = tuple(Section(s["text"], tuple(s["heading"]), s["page"]) for s in reply["sections"])
        return Document(reply["title"], sections)

    def close(self) -> None:
        """End the process; the next `run` starts another. Idempotent."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(self.memory_bytes), str(int(self.seconds))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
            )
            self._files = 0
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_worker = Worker()
atexit.register(_worker.close)


def run(parser: str, path: Path) -> Document:
    """`Worker.run` of the one worker that this process keeps."""
    return _worker.run(parser, path)


def close() -> None:
    """End the worker, to give back its memory; it comes back when needed."""
    _worker.close()


def _exchange(process: subprocess.Popen[bytes], request: Mapping[str, str]) -> dict[str, Any] | None:
    """The worker's reply, None where it died."""
    assert process.stdin and process.stdout  # noqa: S101 - both are pipes
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        reply = json.loads(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
        return None
    return reply if isinstance(reply, dict) else None
