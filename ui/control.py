"""The back door for the command line: beside a running server every command works, through it.

`POST /control/{command}` streams newline-delimited JSON: progress, then one result or one error. Only a bearer of the
token in `server.json` (readable by the owner alone) gets in, and never a browser: a request that names an Origin is
refused. The client half is what `cli/` calls.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from adapters.errors import AdapterError
from assistant.errors import AssistantError
from assistant.home import RunningServer
from knowledge.errors import KnowledgeError
from ui.advancing import Advancing, Streamed
from ui.commands.steps import Step, Steps
from ui.commands.table import COMMANDS, as_line

if TYPE_CHECKING:
    from fastapi import APIRouter, Request

    from assistant.build import Rungs

log = logging.getLogger(__name__)

EXPECTED = (AssistantError, KnowledgeError, AdapterError, OSError)
"""Errors whose message is meant for people; everything else is a fault of ours and is logged."""
THREADS = 16
"""Commands at work side by side; of their own, so that one that takes hours keeps no request waiting."""


def control_router(rungs: Rungs, token: str) -> APIRouter:
    """The routes, for one running assistant."""
    from fastapi import APIRouter, HTTPException

    router, threads = APIRouter(), ThreadPoolExecutor(THREADS, "rungs-command")

    async def control(request: Request) -> Streamed:
        given = request.headers.get("authorization", "")
        allowed = secrets.compare_digest(given.encode(), f"Bearer {token}".encode())
        if not allowed or "origin" in request.headers:
            raise HTTPException(403, "only the command line of this home may do that")
        command = request.path_params["command"]
        if command not in COMMANDS:
            raise HTTPException(404, f"there is no command {command!r}")
        try:
            arguments = await request.json()
        except ValueError as error:
            raise HTTPException(400, "the arguments must be one JSON object") from error
        if not isinstance(arguments, dict):
            raise HTTPException(400, "the arguments must be one JSON object")
        cancel = threading.Event()
        work = Advancing(run_command(rungs, command, arguments, cancel), cancel, threads)
        return Streamed(_lines(work), work, "application/x-ndjson")

    router.add_route("/control/{command}", control, methods=["POST"], include_in_schema=False)
    return router


async def _lines(work: Advancing[Step]) -> AsyncIterator[str]:
    """The steps as they come. Where the client leaves, the server cancels this and the work is stopped."""
    async for step in work.steps():
        yield as_line(step)


def run_command(rungs: Rungs, command: str, arguments: Mapping[str, Any], cancel: threading.Event) -> Steps:
    """A command's steps; an expected error becomes the last step instead of a broken stream."""
    try:
        yield from COMMANDS[command](rungs, arguments, cancel)
    except EXPECTED as error:
        yield {"error": str(error)}
    except Exception:
        log.exception("command %s failed", command)
        yield {"error": f"{command} failed in a way that nobody expected. The server's log says more."}


def call_server(server: RunningServer, command: str, arguments: Mapping[str, Any]) -> Steps:
    """Run a command inside a running server and yield its steps; closing the generator stops the work there.

    Raises:
        AssistantError: the server does not answer or refuses.
    """
    import httpx

    headers = {"authorization": f"Bearer {server.token}", "content-type": "application/json"}
    body = json.dumps(dict(arguments)).encode()  # ASCII: a path may hold what UTF-8 cannot
    url = f"{server.url}/control/{command}"
    try:
        with (
            httpx.Client(trust_env=False, timeout=httpx.Timeout(10.0, read=None)) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
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
