"""Says at once that something changed, as server-sent events: the desk for agents, one conversation for its visitor.

Only that it changed: pages read what it is through their own doors. A page that is gone is noticed within
`ALIVE_SECONDS`. Wired by `server.py`; who may listen stands in `access/doors.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from assistant.bulletin import DESK, Bulletin, conversation_topic
from assistant.errors import AssistantError
from ui.access.visitors import visitor_of

if TYPE_CHECKING:
    from assistant.build import Rungs

ALIVE_SECONDS = 15.0
CHANGED = "event: changed\ndata: {}\n\n"
ALIVE = ": alive\n\n"


def add_live(app: FastAPI, rungs: Rungs) -> None:
    """The routes."""
    bulletin = rungs.desk.bulletin

    async def desk() -> StreamingResponse:
        return event_stream(changes(bulletin, DESK))

    async def conversation(
        request: Request, id: str, rungs_visitor: str = Header("", max_length=200)
    ) -> StreamingResponse:
        visitor = visitor_of(request.scope.get("rungs.who"), rungs_visitor)
        try:
            await asyncio.to_thread(rungs.traces.open_conversation, visitor, "chat", id)
        except AssistantError as error:
            raise HTTPException(404, str(error)) from error
        return event_stream(changes(bulletin, conversation_topic(id)))

    app.add_api_route("/live/desk", desk, methods=["GET"], include_in_schema=False, response_model=None)
    app.add_api_route(
        "/live/conversation/{id}", conversation, methods=["GET"], include_in_schema=False, response_model=None
    )


async def changes(
    bulletin: Bulletin, topic: str, read: Callable[[], Awaitable[str]] | None = None
) -> AsyncIterator[str]:
    """Events for as long as somebody listens.

    Args:
        bulletin: where changes are told.
        topic: of what.
        read: gives the events for what changed since it was last called; None tells only that something did.
    """
    with bulletin.subscribe(topic) as subscription:
        yield await read() if read else CHANGED  # what happened before the page listened
        while not bulletin.closed:
            changed = await subscription.changed(ALIVE_SECONDS)
            if changed and read:
                yield await read() or ALIVE
            else:
                yield CHANGED if changed else ALIVE


def event_stream(lines: AsyncIterator[str]) -> StreamingResponse:
    """Server-sent events that no proxy may keep back."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)
