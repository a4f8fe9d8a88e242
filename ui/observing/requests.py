"""Every request from outside all else: its id, a line in the log, a count, and a span where a collector is set.

Paths are noted as the route's template, never as they were asked: a path or a query may hold a secret. ASGI, outside
the doorkeeper, so that what it refuses is seen, too. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ui.access.doors import door_of
from ui.access.people import Account, Key
from ui.observing.logs import Answers, request_id
from ui.observing.telemetry import Telemetry

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assistant.build import Rungs
    from ui.observing.measures import Measures

HEADER = b"x-request-id"
SANE = re.compile(r"[A-Za-z0-9._:-]{8,64}")
QUIET = re.compile(
    r"/(own|assets|static|svelte|theme\.css|favicon\.ico|healthz|readyz|metrics)\b|/gradio_api/heartbeat"
)
"""Routes that pages and monitors ask all the time; where nothing went wrong they are logged at DEBUG."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LEFT = 499
"""The status that is noted where the client left before there was one, as nginx does."""
log = logging.getLogger(__name__)


def add_observers(app: FastAPI, rungs: Rungs, measures: Measures, version: str) -> None:
    """Have requests and answers noted. Comes last: what is added later stands outside of it.

    Raises:
        AssistantError: the setting `otel` needs an extra that is not installed.
    """
    settings, bulletin = rungs.settings, rungs.desk.bulletin
    telemetry = Telemetry(settings.otel, version, settings.model) if settings.otel else None
    bulletin.listen(measures)
    bulletin.listen(Answers(settings.log_text))
    if telemetry:
        bulletin.listen(telemetry)
        app.router.lifespan_context = _closing(app.router.lifespan_context, telemetry)
    app.add_middleware(Requests, measures=measures, telemetry=telemetry)


class Requests:
    """ASGI: gives every request an id, and writes a line once it is answered."""

    def __init__(self, app: Any, measures: Measures, telemetry: Telemetry | None = None) -> None:
        self._app = app
        self._measures = measures
        self._telemetry = telemetry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER), "")
        id = given if SANE.fullmatch(given) else secrets.token_hex(8)
        path, status, started = scope["path"], 0, time.perf_counter()

        async def told(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                others = [line for line in message["headers"] if line[0].lower() != HEADER]
                message = {**message, "headers": [*others, (HEADER, id.encode())]}
            await send(message)

        token = request_id.set(id)
        begun = self._telemetry.begin() if self._telemetry else None
        try:
            await self._app(scope, receive, told)
        finally:
            route, method = route_of(scope, path), scope["method"] if scope["method"] in METHODS else "OTHER"
            self._measures.request(door_of(path).path, status or LEFT)
            _note(scope, route, method, status or LEFT, time.perf_counter() - started)
            if self._telemetry and begun:
                self._telemetry.end(begun, route, method, status or LEFT)
            request_id.reset(token)


def route_of(scope: Mapping[str, Any], path: str) -> str:
    """A request's route without anything that its asker made up."""
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        root = scope.get("root_path", "")
        return template if template.startswith(root) else root + template
    door = door_of(path).path
    return door if path == door else f"{door.rstrip('/')}/…"


def role_of(who: object) -> str:
    """Who asked, without a name."""
    if isinstance(who, Account):
        return who.role
    return "key" if isinstance(who, Key) else ""


def _note(scope: Mapping[str, Any], route: str, method: str, status: int, seconds: float) -> None:
    """One line; what pages and monitors ask all the time is noted where somebody wants to see everything."""
    level = logging.DEBUG if status < 400 and QUIET.search(route) else logging.INFO
    fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
    log.log(level, "request", extra={"fields": {**fields, "role": role_of(scope.get("rungs.who"))}})


def _closing(inner: Any, telemetry: Telemetry) -> Any:
    """The application's lifespan, which sends the last spans at its end."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            try:
                yield state
            finally:
                await asyncio.to_thread(telemetry.close)

    return lifespan
