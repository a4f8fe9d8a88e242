"""A stop that nobody notices as a failure: no new questions, the answers under way finished, the rest told and ended.

A signal lets the server go on for as long as somebody waits for an answer, `GRACE_SECONDS` at most; it tells health
checks meanwhile that it is not ready, so that a load balancer looks elsewhere. Then answers are given up, streams that
never end by themselves are ended, and the server stops. A second signal does all that at once. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.access.admission import Places

GRACE_SECONDS = 10.0
LINGER_SECONDS = 1.0
"""For what is done already to reach whoever waits for it."""
STATE = "leaving"
"""Where the application's state keeps it."""


class Leaving:
    """One server's way out. Its steps are taken on the event loop."""

    def __init__(self, rungs: Rungs, places: Places) -> None:
        self._rungs = rungs
        self._places = places
        self._open: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Future[None] | None = None
        self.over = False
        """Whether what is still open is being ended."""

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._rungs.assistant.under_way > 0

    async def begin(self) -> None:
        """Let no question in, and have pages that listen for changes go."""
        self._places.close()
        self._rungs.assistant.drain()
        self._closing = asyncio.ensure_future(asyncio.to_thread(self._rungs.desk.bulletin.close))

    def give_up(self) -> None:
        """Have the answers under way end, each with a word to whoever asked."""
        self._places.close()
        self._rungs.assistant.halt()

    def end(self) -> None:
        """End whatever is still open: pages that listen, commands of the command line."""
        self.over = True
        for task in self._open:
            task.cancel()

    async def run(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """One request, which `end` may end."""
        task, begun, whole = asyncio.current_task(), False, False
        assert task is not None  # noqa: S101  (a coroutine that runs has one)

        async def told(message: Any) -> None:
            nonlocal begun, whole
            begun = begun or message["type"] == "http.response.start"
            whole = whole or (message["type"] == "http.response.body" and not message.get("more_body", False))
            await send(message)

        self._open.add(task)
        try:
            await app(scope, receive, told)
        except asyncio.CancelledError:
            if not self.over:
                raise
            task.uncancel()
            with suppress(Exception):  # the client may be gone, or have been promised more than comes
                await _ended(send, begun, whole)
        finally:
            self._open.discard(task)


class UntilLeaving:
    """ASGI: every request, for as long as the server is there."""

    def __init__(self, app: Any, leaving: Leaving) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http":
            await self._leaving.run(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class PatientServer(uvicorn.Server):
    """uvicorn's, which goes on after a signal for as long as somebody waits for an answer."""

    def __init__(self, config: uvicorn.Config, leaving: Leaving) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._asked = False
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins the way out, which `on_tick` goes; it is only noted here, in between anything."""
        again, self._asked = self._asked, True
        super().handle_exit(sig, frame)
        if not again:
            self.should_exit = False

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop now."""
        if self._asked and not self.should_exit:
            if not self._until:
                self._until = time.monotonic() + GRACE_SECONDS
                await self._leaving.begin()
            self.should_exit = not self._leaving.waited_for or time.monotonic() > self._until
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: whoever still waits is told, and given a moment to hear it."""
        self._leaving.give_up()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._leaving.end)
        await super().shutdown(sockets)


async def _ended(send: Any, begun: bool, whole: bool) -> None:
    if begun and not whole:
        await send({"type": "http.response.body", "body": b""})
    elif not begun:
        error = {"message": "Rungs is stopping", "type": "server_error", "param": None, "code": "stopping"}
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"5"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
