"""A crowd that comes all at once: it delays no health check, and whom nobody can answer is told so before it is read.

ASGI; wired by `server.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from fastapi.responses import JSONResponse

from ui.access.admission import BUSY_SECONDS, FULL, Busy, Places
from ui.api.problems import Refusal

AT_ONCE = ("/healthz", "/readyz", "/metrics")
"""What never waits for a turn."""
BEGINNING = 4
"""Requests that begin in one turn of the event loop: some milliseconds of work."""
ASKING = "/v1/chat/completions"
"""Where programs ask, which come in crowds."""


class Turns:
    """Lets a few requests begin in each turn of the event loop; the others wait for the next ones, in their order."""

    def __init__(self, app: Any, most: int = BEGINNING) -> None:
        self._app = app
        self._most = most
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] not in AT_ONCE:
            await self._turn()
        await self._app(scope, receive, send)

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._begun >= self._most or self._waiting:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
            return
        self._begun += 1
        if self._begun == 1:
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        while self._waiting and self._begun < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # else whoever waited has left
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next, loop)


class FullHouse:
    """Turns programs away while every place is taken, without a look at what they ask."""

    def __init__(self, app: Any, places: Places) -> None:
        self._app = app
        self._places = places

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] == ASKING and scope["method"] == "POST" and self._places.full:
            told = Refusal(Busy.status, FULL, Busy.code)
            headers = {"retry-after": str(BUSY_SECONDS)}
            await JSONResponse(told.body, Busy.status, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)
