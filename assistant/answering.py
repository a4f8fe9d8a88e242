"""Whether somebody is being answered now, so that a training in another process can step aside.

A lock on a file of the home, shared by whoever answers: it costs microseconds, and a process that dies lets go of it.
Taken by `deployment.py`, looked at by `adapting.py`.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "answering.lock"


class Answering:
    """Says that this process answers, for as long as one question or more is answered. Thread-safe."""

    def __init__(self, home: Path) -> None:
        self._path = home / LOCK
        self._questions = 0
        self._descriptor = -1
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A question is answered in this block. A home that cannot be written only means that nobody steps aside."""
        with self._lock:
            self._questions += 1
            if self._questions == 1:
                with suppress(OSError):
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                    fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            yield
        finally:
            with self._lock:
                self._questions -= 1
                if self._questions == 0 and self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1


def is_answering(home: Path) -> bool:
    """Whether a process answers a question on this home now."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
