"""Lets a question in, or turns it away at once: a place in a bounded queue, and the budgets of whoever asks.

Each answer under way has a thread of its own, so that a full house delays no other request. Every surface that streams
answers asks here; what is turned away is told when to come back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, cast

from assistant.types import Event, Finished, Question, Trace
from ui.access.budgets import Budgets, TurnedAway
from ui.advancing import Advancing

if TYPE_CHECKING:
    from assistant.build import Rungs

FULL = "too many questions are waiting; try again in a few seconds"
BUSY_SECONDS = 5
"""What somebody is told to wait whom the full queue turned away."""


class Busy(TurnedAway):
    """Too many questions wait already."""


class Leaving(TurnedAway):
    """The server is being stopped: another one takes the question, or this one once it is back."""

    code = "stopping"
    status = 503


class Places:
    """How many answers are under way, and the threads that make them."""

    def __init__(self, most: int) -> None:
        self.most: int = most
        self._lock = threading.Lock()
        self.taken: int = 0
        self.closed = False
        """Whether nobody is let in any more, since the server is being stopped."""
        self.threads = ThreadPoolExecutor(most, "rungs-answer")

    def take(self) -> None:
        """Take a place.

        Raises:
            Busy: there is none.
            Leaving: nobody is let in any more.
        """
        with self._lock:
            if self.closed:
                raise Leaving("Rungs is stopping; ask again in a few seconds", BUSY_SECONDS)
            if self.taken >= self.most:
                raise Busy(FULL, BUSY_SECONDS)
            self.taken += 1

    def close(self) -> None:
        """Let nobody in any more; whoever is in stays. Idempotent."""
        with self._lock:
            self.closed = True

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return not self.closed and self.taken >= self.most

    def give_back(self) -> None:
        """Leave it."""
        with self._lock:
            self.taken -= 1


class Admission:
    """The door to the engine, for every surface of one server."""

    def __init__(self, places: Places, budgets: Budgets) -> None:
        self.places = places
        self.budgets = budgets

    async def let_in(self, rungs: Rungs, make: Callable[[], Question], *who: str) -> Advancing[Event]:
        """As `admit`, for an event loop. The place is taken at once: whoever is turned away waits for no thread.

        Raises:
            TurnedAway: no place, or a budget is used up.
        """
        self.places.take()
        return await asyncio.to_thread(self._admitted, rungs, make, who)

    def admit(self, rungs: Rungs, make: Callable[[], Question], *who: str) -> Advancing[Event]:
        """An answer, ready to be advanced. Blocks for a moment: it looks into the database.

        Args:
            rungs: who answers.
            make: makes the question, once it is let in; what it raises gives the place back.
            who: whose budgets it uses, as `Budgets.take` names them.

        Raises:
            TurnedAway: no place, or a budget is used up.
        """
        self.places.take()
        return self._admitted(rungs, make, who)

    def _admitted(self, rungs: Rungs, make: Callable[[], Question], who: tuple[str, ...]) -> Advancing[Event]:
        """The answer of whoever has a place already."""
        try:
            self.budgets.take(*who)
            question, cancel = make(), threading.Event()
        except BaseException:
            self.places.give_back()
            raise
        work = self._counted(rungs, question, cancel, who)
        return Advancing(work, cancel, self.places.threads, self.places.give_back)

    def _counted(
        self, rungs: Rungs, question: Question, cancel: threading.Event, who: tuple[str, ...]
    ) -> Generator[Event, None, None]:
        with closing(cast("Generator[Event, None, None]", rungs.assistant.stream(question, cancel))) as events:
            for event in events:
                if isinstance(event, Finished):
                    self.budgets.spend(who, sum(tokens_of(event.trace)))
                yield event


def tokens_of(trace: Trace) -> tuple[int, int]:
    """Tokens read and written for every draft, held back ones included: that is what the answer cost."""
    drafts = [attempt.draft for attempt in trace.attempts if attempt.draft]
    return sum(draft.tokens_in for draft in drafts), sum(draft.tokens_out for draft in drafts)
