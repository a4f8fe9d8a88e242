"""REST for programs: knowledge, conversations with their traces, feedback, adapters. Each needs its scope (`doors.py`).

Thin: what is done is what the commands do. Errors are JSON with a message in words. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, UploadFile
from pydantic import BaseModel, Field

from assistant.errors import AssistantError
from ui import uploads
from ui.control import run_command

if TYPE_CHECKING:
    from assistant.build import Rungs

FILES_MAX = 100
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Limit = Annotated[int, Query(ge=1, le=500)]


class FeedbackRequest(BaseModel):
    """A thumb."""

    trace_id: str = Field(max_length=64)
    value: Literal[1, -1]
    reason: str = Field("", max_length=2000)


class DecisionRequest(BaseModel):
    """What is decided about an adapter, and why."""

    action: Literal["promote", "rollback", "retire"]
    revision: str | None = Field(None, max_length=12)
    reason: str | None = Field(None, max_length=500)


class Rest:
    """What the routes do, for one running assistant."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs

    async def sources(self) -> dict[str, Any]:
        """Where what is known comes from."""
        return await _done(self._rungs, "sources-list", {})

    async def search(
        self, text: Annotated[str, Query(min_length=1, max_length=8000)], k: Annotated[int, Query(ge=1, le=50)] = 5
    ) -> dict[str, Any]:
        """The passages nearest to a text; no model is asked."""
        return await _done(self._rungs, "search", {"text": text, "k": k})

    async def add_documents(self, source: str, files: list[UploadFile]) -> dict[str, Any]:
        """Add documents to a source of its own; a document of the same name is replaced."""
        if len(files) > FILES_MAX:
            raise HTTPException(400, f"at most {FILES_MAX} files at once")
        return await asyncio.to_thread(_taken_in, self._rungs, source, files)

    async def remove_source(self, source: str) -> dict[str, Any]:
        """Remove a source with all its documents."""
        home, path = self._rungs.settings.home, None
        with suppress(AssistantError):  # a source that was never uploaded has another kind of name
            path = str(uploads.folder_of(home, source))
        done = await _done(self._rungs, "sources-remove", {"source": source, "path": path})
        await asyncio.to_thread(uploads.forget, home, done["source"])
        return done

    async def traces(
        self,
        level: Literal["prompting", "rag", "lora"] | None = None,
        outcome: Literal["answered", "abstained", "handed_off", "interrupted"] | None = None,
        text: Annotated[str, Query(max_length=1000)] = "",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Questions, the latest first."""
        found = await asyncio.to_thread(
            lambda: self._rungs.traces.find(level=level, outcome=outcome, text=text, limit=limit, offset=offset)
        )
        return {"traces": found}

    async def trace(self, trace_id: str) -> Any:
        """One question at full depth."""
        try:
            return await asyncio.to_thread(self._rungs.traces.load, trace_id)
        except AssistantError as error:
            raise HTTPException(404, str(error)) from error

    async def feedback(self, given: FeedbackRequest) -> dict[str, Any]:
        """Say whether an answer was good."""
        try:
            await asyncio.to_thread(self._rungs.traces.add_feedback, given.trace_id, given.value, given.reason)
        except AssistantError as error:
            raise HTTPException(404, str(error)) from error
        return {"kept": True}

    async def adapters(self) -> dict[str, Any]:
        """Every revision of every adapter."""
        return await _done(self._rungs, "adapters-list", {})

    async def decide(self, name: str, decision: DecisionRequest, request: Request) -> dict[str, Any]:
        """Promote, roll back or retire."""
        who = request.scope.get("rungs.who")
        arguments = {**decision.model_dump(exclude={"action"}), "name": name, "by": who.name if who else "owner"}
        return await _done(self._rungs, f"adapters-{decision.action}", arguments)


def rest_router(rungs: Rungs) -> APIRouter:
    """The routes."""
    router, rest = APIRouter(prefix="/api"), Rest(rungs)
    for method, path, work, tag in (
        ("GET", "/knowledge/sources", rest.sources, "knowledge"),
        ("GET", "/knowledge/search", rest.search, "knowledge"),
        ("POST", "/knowledge/sources/{source}/documents", rest.add_documents, "knowledge"),
        ("DELETE", "/knowledge/sources/{source}", rest.remove_source, "knowledge"),
        ("GET", "/conversations/traces", rest.traces, "conversations"),
        ("GET", "/conversations/traces/{trace_id}", rest.trace, "conversations"),
        ("POST", "/feedback", rest.feedback, "feedback"),
        ("GET", "/adapters", rest.adapters, "adapters"),
        ("POST", "/adapters/{name}", rest.decide, "adapters"),
    ):
        router.add_api_route(path, work, methods=[method], tags=[tag])
    return router


async def _done(rungs: Rungs, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A command's result.

    Raises:
        HTTPException: what went wrong, in words.
    """

    def run() -> dict[str, Any]:
        *_, last = run_command(rungs, command, arguments, threading.Event())
        return last

    last = await asyncio.to_thread(run)
    if "error" in last:
        raise HTTPException(400, last["error"])
    return dict(last["result"])


def _taken_in(rungs: Rungs, source: str, files: list[UploadFile]) -> dict[str, Any]:
    """Keep the files, then ingest their folder: what is acknowledged is on disk and can be found."""
    try:
        folder = uploads.folder_of(rungs.settings.home, source)
        for file in files:
            uploads.keep(rungs.settings.home, source, file.filename, file.file)
    except AssistantError as error:
        raise HTTPException(400, str(error)) from error
    *_, last = run_command(rungs, "ingest", {"paths": [str(folder)]}, threading.Event())
    if "error" in last:
        raise HTTPException(400, last["error"])
    return dict(last["result"])
