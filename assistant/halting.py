"""Why an answer under way should end: whoever asked has left, or Rungs is stopping.

Models and levels look at one event, as ever; this one is set when either of two is. Made by `deployment.py`; the
pipeline reads its reason.
"""

from __future__ import annotations

import threading
import time

from assistant.errors import ModelUnavailable

LOOK_SECONDS = 0.02
BY_ASKER = "stopped by the asker"
BY_RUNGS = "Rungs was stopped before the answer was complete"


class Stopping(ModelUnavailable):
    """Rungs is being stopped: it takes no question any more, or gives up this one."""

    seconds = 5
    """When to come back: another process answers by then, or this one anew."""


class Halt(threading.Event):
    """Set once the asker's own event is, or everybody's."""

    def __init__(self, asker: threading.Event, everybody: threading.Event) -> None:
        super().__init__()
        self._asker = asker
        self._everybody = everybody

    @property
    def reason(self) -> str:
        """Who ended it, for the record."""
        return BY_ASKER if self._asker.is_set() or not self._everybody.is_set() else BY_RUNGS

    def is_set(self) -> bool:
        """Whether one of the two is."""
        return self._asker.is_set() or self._everybody.is_set()

    def set(self) -> None:
        """As if the asker had."""
        self._asker.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Until one of the two is set, at most so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = LOOK_SECONDS if until is None else min(LOOK_SECONDS, until - time.monotonic())
            if left <= 0:
                return False
            self._asker.wait(left)
        return True
