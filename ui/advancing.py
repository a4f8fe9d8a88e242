"""Blocking work, advanced by worker threads one step at a time and stopped by the event loop at any moment.

Whoever streams uses it: the API, the widget and the control door. A client that leaves cancels the coroutine in
`steps`, and that stops the work, be it between two steps or in the middle of one. Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from starlette.responses import StreamingResponse

T = TypeVar("T")


class Advancing(Generic[T]):
    """Work under way. It ends exactly once: at its end, by an error, or stopped."""

    def __init__(
        self,
        work: Generator[T, None, None],
        cancel: threading.Event,
        threads: Executor | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            work: blocks while it makes a step.
            cancel: what the work looks at to end in the middle of a step.
            threads: who advances it; None: the event loop's own, which everything else shares.
            at_end: called once, when nothing of the work runs any more.
        """
        self._work = work
        self._cancel = cancel
        self._threads = threads
        self._at_end = at_end
        self._busy = threading.Lock()
        self._over = False

    async def steps(self) -> AsyncIterator[T]:
        """The steps as they come; leaving early stops the work."""
        loop, context = asyncio.get_running_loop(), copy_context()  # so that its log lines name the request
        try:
            while True:
                step = loop.run_in_executor(self._threads, context.run, self.advance)
                await asyncio.wait({step})  # unlike awaiting the step itself, this can be cancelled in the middle of it
                done = step.result()
                if done is None:
                    return
                yield done
        finally:
            self.stop()

    def stop(self) -> None:
        """End the work: at once where it waits between steps, else as soon as its step has noticed. From any thread."""
        self._cancel.set()
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()

    def advance(self) -> T | None:
        """The next step; None at the end, or once it was stopped. Blocks."""
        with self._busy:
            step = None
            try:
                step = None if self._cancel.is_set() else next(self._work, None)
            finally:
                if step is None or self._cancel.is_set():
                    self._end()
            return None if self._over else step

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._work.close()
        finally:
            if self._at_end:
                self._at_end()


class Streamed(StreamingResponse):
    """A stream that ends its work when the response ends, even where the client left before the first line was made."""

    def __init__(self, lines: AsyncIterator[str], work: Advancing[Any], media_type: str) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # which no proxy may keep back
        super().__init__(lines, media_type=media_type, headers=headers)
        self._work = work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._work.stop()
