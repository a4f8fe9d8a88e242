"""`/openapi.json`: the document of our own programs' routes, `/v1`, `/api` and health. It says what really is answered.

Pages, the log-in, the control door and the widget's door are left out. Wired by `server.py`; `bench/openapi.py` holds
it against the running server.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from ui.access.doors import COOKIE, SECURE_COOKIE, door_of
from ui.api.problems import describes

PATH = "/openapi.json"
METHODS = ("get", "post", "put", "patch", "delete")
DESCRIPTION = (
    "Where there are accounts, a program sends a key (`Authorization: Bearer rk-...`, made with `rungs keys create`) "
    "and a person the session's cookie. Every refusal has the body `Problem`. Bodies are JSON in UTF-8."
)
SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "a key with the scope that the operation names"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"what a log-in sets; by https its name is `{SECURE_COOKIE}`",
    },
}


def add_openapi(app: FastAPI, version: str) -> None:
    """The route. Comes after all others: the document names those that are there when it is first asked for."""

    @lru_cache(maxsize=1)
    def document() -> dict[str, Any]:
        return described(app, version)

    async def openapi() -> JSONResponse:
        """This document."""
        return JSONResponse(document())

    app.add_api_route(
        PATH, openapi, methods=["GET"], tags=["health"], responses=describes(), response_model=dict[str, Any]
    )


def described(app: FastAPI, version: str) -> dict[str, Any]:
    """The document."""
    told = get_openapi(title="Rungs", version=version, description=DESCRIPTION, routes=app.routes)
    for path, item in told["paths"].items():
        door = door_of(path)
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            operation["responses"].pop("422", None)  # FastAPI's own; what cannot be read is refused with 400 here
            if door.role == "visitor":
                operation["security"] = []
                continue
            operation["security"] = [{"session": []}, *([{"key": []}] if door.scope else [])]
            scope = f"; key: scope {door.scope}" if door.scope else ""
            operation["description"] = f"{operation.get('description', '')}\n\nPerson: {door.role}{scope}.".strip()
    told.setdefault("components", {})["securitySchemes"] = SCHEMES
    for unused in ("HTTPValidationError", "ValidationError"):
        told["components"].get("schemas", {}).pop(unused, None)
    return told
