"""What a program is told when something is refused: one body for every route, which OpenAI's clients read, too.

`{"error": {"message", "type", "param", "code"}}`: words for people, and a code for programs. `describes` names the
refusals of a route for the OpenAPI document. Wired by `server.py`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from adapters.errors import AdapterError
from assistant.errors import AssistantError
from assistant.halting import Stopping
from knowledge.errors import KnowledgeError
from knowledge.text import clean
from ui.access.budgets import TurnedAway

log = logging.getLogger(__name__)

CODES = {
    400: "invalid_request", 401: "no_key", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    408: "too_slow", 409: "conflict", 413: "too_large", 415: "unsupported_media_type", 429: "busy",
    500: "internal", 503: "unavailable",
}  # fmt: skip
MEANINGS = {
    400: "what was sent cannot be used; `param` names the part",
    401: "nobody known asks: log in, or send a key",
    403: "whoever asks may not do this",
    404: "there is no such thing",
    405: "the path knows other methods; `Allow` names them",
    409: "it cannot be done as things stand",
    413: "more was sent than is read here",
    429: "too many questions wait, or a budget is used up; `Retry-After` says when to come back",
    500: "a fault of ours",
    503: "a part cannot be used now, or the server is being stopped; then `Retry-After` says when to come back",
}
UNEXPECTED = "that failed in a way that nobody expected. The server's log says more."


class Detail(BaseModel):
    """What went wrong."""

    message: str
    """Words for people."""
    type: str
    param: str | None
    """Which part of the request, where one is to blame."""
    code: str


class Problem(BaseModel):
    """The body of every refusal."""

    error: Detail


class Refusal(Exception):
    """A request that is refused, with everything that the client is told."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        detail = Detail(message=clean(message), type=_kind(status), param=param, code=code or _code(status))
        self.body = {"error": detail.model_dump()}


def describes(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for the OpenAPI document."""
    told: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 401, 403, 500, 503}):
        told[status] = {"model": Problem, "description": MEANINGS[status]}
        if status in (429, 503):
            told[status]["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return told


def add_problems(app: FastAPI) -> None:
    """Have every refusal of the application's own routes told in this shape."""

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)  # noqa: S101  (registered for it)
        return JSONResponse(error.body, error.status)

    async def turned_away(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, TurnedAway)  # noqa: S101  (registered for it)
        told = Refusal(error.status, str(error), error.code)
        return JSONResponse(told.body, error.status, {"retry-after": str(error.seconds)})

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for it)
        first = error.errors()[0]
        known = first["type"] != "json_invalid"  # its place is a number of characters
        parts = [str(part) for part in first["loc"] if part not in ("body", "query", "path") and known]
        where = clean(".".join(parts))[:200]
        told = Refusal(400, f"{where or 'body'}: {first['msg']}", param=where or None)
        return JSONResponse(told.body, 400)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101  (registered for it)
        told = error.detail if isinstance(error.detail, str) else "that cannot be done"
        return JSONResponse(Refusal(error.status_code, told).body, error.status_code, error.headers)

    async def unavailable(_request: Request, error: Exception) -> JSONResponse:
        wait = {"retry-after": str(error.seconds)} if isinstance(error, Stopping) else None
        return JSONResponse(Refusal(503, str(error)).body, 503, wait)

    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse(Refusal(500, UNEXPECTED).body, 500)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(TurnedAway, turned_away)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StarletteHTTPException, http)
    for expected in (AssistantError, KnowledgeError, AdapterError):
        app.add_exception_handler(expected, unavailable)
    app.add_exception_handler(Exception, unexpected)


def add_ends(app: FastAPI, *paths: str) -> None:
    """Answer at these paths, and below those that end in a slash, where no route does or none knows the method.

    Comes after the routes and before the page at the root, which would answer in HTML.
    """
    from starlette.routing import Route

    end = _End(list(app.routes))
    for path in paths:
        app.router.routes.append(Route(path.rstrip("/"), end))
        if path.endswith("/"):
            app.router.routes.append(Route(path + "{rest:path}", end))


class _End:
    """An ASGI application, since only those are asked for every method."""

    def __init__(self, routes: list[Any]) -> None:
        self._routes = routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request that no route took."""
        from starlette.routing import Match

        allowed = [
            method
            for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
            if any(route.matches({**scope, "method": method})[0] == Match.FULL for route in self._routes)
        ]
        if not allowed:
            raise HTTPException(404, "there is nothing under this path; /openapi.json lists what there is")
        raise HTTPException(405, "this path knows other methods", {"allow": ", ".join(allowed)})


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status in (401, 403):
        return "authentication_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _code(status: int) -> str:
    return CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
