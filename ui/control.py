"""The back door for the command line: beside a running server every command works, through it.

`POST /control/{command}` streams newline-delimited JSON: progress, then one result or one error. Only a bearer of the
token in `server.json` (readable by the owner alone) gets in, and never a browser: a request that names an Origin is
refused. The client half is what `cli.py` calls.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adapters.errors import AdapterError
from assistant.errors import AssistantError
from assistant.home import RunningServer
from knowledge.errors import KnowledgeError
from ui.commands import COMMANDS, Step, as_line

if TYPE_CHECKING:
    from fastapi import APIRouter

    from assistant.build import Rungs

log = logging.getLogger(__name__)

EXPECTED = (AssistantError, KnowledgeError, AdapterError, OSError)
"""Errors whose message is meant for people; everything else is a fault of ours and is logged."""


def control_router(rungs: Rungs, token: str) -> APIRouter:
    """The routes, for one running assistant."""
    from fastapi import APIRouter, HTTPException, Request
    from fastapi.responses import StreamingResponse
    from starlette.concurrency import iterate_in_threadpool

    router = APIRouter(include_in_schema=False)

    async def control(command: str, request: Request) -> StreamingResponse:
        given = request.headers.get("authorization", "")
        allowed = secrets.compare_digest(given.encode(), f"Bearer {token}".encode())
        if not allowed or "origin" in request.headers:
            raise HTTPException(403, "only the command line of this home may do that")
        if command not in COMMANDS:
            raise HTTPException(404, f"there is no command {command!r}")
        arguments = await request.json()

        async def lines() -> AsyncIterator[str]:
            steps = run_command(rungs, command, arguments)
            try:
                async for step in iterate_in_threadpool(steps):
                    yield as_line(step)
            finally:
                steps.close()

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    router.add_api_route("/control/{command}", control, methods=["POST"])
    return router


def run_command(rungs: Rungs, command: str, arguments: Mapping[str, Any]) -> Generator[Step, None, None]:
    """A command's steps; an expected error becomes the last step instead of a broken stream."""
    try:
        yield from COMMANDS[command](rungs, arguments)
    except EXPECTED as error:
        yield {"error": str(error)}
    except Exception:
        log.exception("command %s failed", command)
        yield {"error": f"{command} failed in a way that nobody expected. The server's log says more."}


def call_server(server: RunningServer, command: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    """Run a command inside a running server and yield its steps; closing the generator stops the work there.

    Raises:
        AssistantError: the server does not answer or refuses.
    """
    import httpx

    headers = {"authorization": f"Bearer {server.token}"}
    url = f"{server.url}/control/{command}"
    try:
        with (
            httpx.Client(trust_env=False, timeout=httpx.Timeout(10.0, read=None)) as client,
            client.stream("POST", url, json=dict(arguments), headers=headers) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise AssistantError(
                    f"the running server (pid {server.pid}) refused {command}: {response.status_code}."
                )
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)
    except httpx.HTTPError as error:
        raise AssistantError(
            f"the running server (pid {server.pid}, {server.url}) does not answer: {error}. Restart it."
        ) from error
