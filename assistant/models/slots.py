"""Who may use which slot of the engine: a conversation gets its own slot back, others wait in line.

A slot keeps the tokens it read last, so a conversation that returns to it reads only what is new. Knows nothing of the
engine. Used by `embedded.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable

POLL_SECONDS = 0.2
"""How soon a waiting request notices that it was cancelled; nothing is computed for it yet. Many may wait at once."""


class Slots:
    """Hands out slot numbers 0 to `count - 1`, first come first served; thread-safe."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))
        """Least recently used first."""
        self._owner: dict[int, Hashable] = {}
        self._line: deque[object] = deque()
        self._turn = threading.Condition()

    def take(self, owner: Hashable, cancel: threading.Event) -> int | None:
        """A slot for `owner`: its own if that is free, else the one idle longest; None once `cancel` is set."""
        ticket = object()
        with self._turn:
            self._line.append(ticket)
            try:
                while not (self._free and self._line[0] is ticket):
                    if cancel.is_set():
                        return None
                    self._turn.wait(POLL_SECONDS)
                own = [slot for slot in self._free if self._owner.get(slot) == owner]
                unused = [slot for slot in self._free if slot not in self._owner]
                slot = (own or unused or self._free)[0]
                self._free.remove(slot)
                self._owner[slot] = owner
                return slot
            finally:
                self._line.remove(ticket)
                self._turn.notify_all()

    def give_back(self, slot: int) -> None:
        """Make `slot` free again; it stays its owner's until somebody else needs it."""
        with self._turn:
            self._free.append(slot)
            self._turn.notify_all()
