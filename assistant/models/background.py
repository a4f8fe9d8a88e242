"""A private event loop on one thread, so that asynchronous clients can serve synchronous generators.

It starts with the first call, ends with `close`, and leaves no thread behind. What runs on it sees an empty context:
no tracer, callback or context variable of the caller's. Used by `served.py`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
JOIN_SECONDS = 5.0


class Background:
    """The loop and its thread. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop.

        Raises:
            RuntimeError: it is closed.
        """
        with self._guard:
            if self._closed:
                work.close()
                raise RuntimeError(f"{self._name} is closed")
            if self._loop is None:
                self._start()
            assert self._loop is not None  # noqa: S101 (for the type checker: _start has set it)
            return contextvars.Context().run(asyncio.run_coroutine_threadsafe, work, self._loop)

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what runs, run `last` (closing clients), end the thread. Idempotent."""
        with self._guard:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            last.close()
            return
        asyncio.run_coroutine_threadsafe(_wind_up(loop, last), loop)
        thread.join(JOIN_SECONDS)

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
        self._thread.start()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _wind_up(loop: asyncio.AbstractEventLoop, last: Coroutine[Any, Any, None]) -> None:
    running = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    try:
        await last
    finally:
        loop.stop()
