"""A server that keeps the widget's contract and fails on demand, as no healthy server can be made to.

A question's first word says what happens to it: `drop` cuts the line in the middle of the words, `busy` refuses it for
two seconds, `slow` writes without end, `hostile` comes back in every field. Only for the widget's own faults; what a
visitor sees is tested against the real server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.middleware.cors import CORSMiddleware

from tests.ui.widget.hosting import listening
from ui.widget.script import widget_script


@dataclass
class Double:
    """What it was asked, and what it does."""

    settings: dict[str, Any]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=lambda: {"state": "assistant", "agent": None})
    tokens: set[str] = field(default_factory=set)
    latest: str | None = None
    lives: int = 0
    stopped: int = 0
    cut: int = 0
    """Raised by one, every live line is cut."""
    refuse: Response | None = None
    """What the next session gets instead of one."""

    def say(self, speaker: str, text: str, author: str = "") -> None:
        number = len(self.entries) + 1
        self.entries.append(
            {"id": f"m{number}", "speaker": speaker, "text": text, "at": "2026-11-25T10:00:00Z", "author": author,
             "rating": 0, "number": number, "answer": None}
        )  # fmt: skip

    def answer(self, text: str, **given: Any) -> dict[str, Any]:
        cited = {"title": "Lamps", "heading": "Lamps > Bulbs", "uri": "https://docs.example/lamps", "page": 2,
                 "quote": "A lamp is switched on with the red lever."}  # fmt: skip
        return {
            "trace_id": f"t{len(self.asked)}", "text": text, "outcome": "answered", "level": "rag", "confidence": 0.93,
            "level_words": "From the documents", "confidence_words": "very likely right (93%)", "citations": [cited],
            "suggestions": ["And a bulb?"],
        } | given  # fmt: skip


def sse(event: str, data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


async def events(double: Double, text: str, once: str) -> AsyncIterator[str]:
    double.latest = "c1"
    yield sse("conversation", {"id": "c1"})
    if double.state["state"] == "person":
        double.say("visitor", text)
        yield sse("said", double.entries[-1]) + sse("done", {})
        return
    yield sse("climb", {"level": "rag", "state": "trying", "words": "Looking it up in the documents …"})
    if text.startswith("hostile "):
        bad = text.removeprefix("hostile ")
        cited = {"title": bad, "heading": bad, "uri": bad, "quote": bad, "page": None}
        yield sse(
            "answer", double.answer(bad, citations=[cited], suggestions=[bad], level_words=bad, confidence_words=bad)
        )
        yield sse("done", {})
        return
    try:
        for word in ("Use ", "the **red** ", "lever ") * (200 if text.startswith("slow") else 1):
            yield sse("words", {"text": word})
            await asyncio.sleep(0.05)
    finally:
        double.stopped += 1
    if text.startswith("drop") and len([one for one in double.asked if one["once"] == once]) == 1:
        raise ConnectionResetError("cut on purpose")
    yield sse("withdraw", {}) if text.startswith("withdraw") else ""
    yield sse("answer", double.answer("Use the **red** lever [1].\n\n- pull\n- wait")) + sse("done", {})


async def live(double: Double, after: int) -> AsyncIterator[str]:
    double.lives += 1
    told, cut, state = after, double.cut, None
    while double.cut == cut:
        if state != double.state:
            state = dict(double.state)
            yield sse("state", state)
        for entry in double.entries[told:]:
            told = entry["number"]
            yield sse("entry", entry)
        await asyncio.sleep(0.05)


def application(double: Double) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=["retry-after"]
    )

    @app.get("/widget/rungs.js")
    def script() -> Response:
        return Response(widget_script().body, media_type="text/javascript")

    @app.post("/widget/api/session")
    async def session(request: Request) -> Any:
        double.calls.append(("session", await request.json()))
        if double.refuse:
            refused, double.refuse = double.refuse, None
            return refused
        token = f"token-{time.monotonic_ns()}"
        double.tokens.add(token)
        known = (await request.json())["visitor"] == "visitor-secret"
        return {"token": token, "expires_seconds": 900, "visitor": "visitor-secret", "site": double.settings,
                "conversation": double.latest if known else None, "known": False, "name": ""}  # fmt: skip

    @app.api_route("/widget/api/{path:path}", methods=["GET", "POST"], response_model=None)
    async def call(path: str, request: Request) -> Any:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in double.tokens:
            return JSONResponse({"error": {"message": "expired", "code": "expired"}}, 401)
        body = await request.json() if request.method == "POST" else dict(request.query_params)
        double.calls.append((path, body))
        if path == "ask":
            double.asked.append(body)
            if body["text"].startswith("busy") and len(double.asked) == 1:
                error = {"error": {"message": "too many", "code": "busy"}}
                return JSONResponse(error, 429, {"retry-after": "2"})
            return StreamingResponse(events(double, body["text"], body["once"]), media_type="text/event-stream")
        if path == "live":
            return StreamingResponse(live(double, int(body["after"])), media_type="text/event-stream")
        if path == "person":
            double.latest, double.state = "c1", {"state": "waiting", "agent": None}
            return {"conversation": "c1", **double.state}
        if path == "conversations":
            return {
                "conversations": [
                    {
                        "id": "c1",
                        "title": "How is a lamp switched on?",
                        "turns": 1,
                        "updated_at": "2026-11-25T10:00:00Z",
                    }
                ]
            }
        if path.startswith("conversations/"):
            return {"id": "c1", "entries": double.entries, **double.state}
        return {"kept": True} if path == "feedback" else {"conversation": "c1"}

    return app


@contextmanager
def double(**settings: Any) -> Iterator[Double]:
    """It, on a port of its own."""
    look = {"position": "right", "color": "#0f766e", "theme": "auto", "language": "en", "texts": {}}
    words = {"name": "Lamps", "title": "Lamp support", "greeting": "Hello! Ask about **lamps** and kettles."}
    offers = {"proactive": None, "suggestions": ["How is a lamp switched on?"], "form": []}
    given = {**look, **words, **offers, "assistant_languages": ["en"], **settings}
    made = Double(given)
    with listening(application(made)) as port:
        made.url = f"http://localhost:{port}"
        yield made
