"""The OpenAI-compatible door: `/v1/chat/completions` and `/v1/models`, so that existing clients work unchanged.

The model `rungs` is the cascade, `rungs/rag` and its like are one level alone. What OpenAI's format has no place for
(level, confidence, citations, trace) stands in the field `rungs`. Parses and formats; decides nothing. Wired by
`server.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from assistant.errors import AssistantError, BadQuestion
from assistant.types import LEVEL_NAMES, Climbing, Event, Finished, Level, Question, Trace, Turn, Words
from ui.control import EXPECTED

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

PREFIX = "/v1"
MODEL = "rungs"
MODELS: dict[str, Level | None] = {MODEL: None, **{f"{MODEL}/{level}": level for level in LEVEL_NAMES}}
MESSAGES_MAX = 200
CHARACTERS_MAX = 200_000
BUSY_SECONDS = 5
"""What a client that was turned away is told to wait."""


class Part(BaseModel):
    """A part of a message; only texts are read."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says in words."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """OpenAI's request. What would change how a model samples is accepted and has no effect: Rungs is greedy."""

    model_config = ConfigDict(extra="allow")

    model: str = MODEL
    messages: list[ChatMessage] = Field(min_length=1, max_length=MESSAGES_MAX)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=1, description="one answer")
    user: str = Field("", max_length=200, description="who asks; whoever is named so has conversations of their own")


class Refusal(Exception):
    """An error in OpenAI's format."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": _kind(status), "param": param, "code": code},
        }


def _kind(status: int) -> str:
    return {400: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error"}.get(
        status, "server_error"
    )


class Places:
    """How many answers are under way; one too many is turned away at once instead of waiting for ever."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.taken = 0

    def take(self) -> None:
        """Take a place.

        Raises:
            Refusal: there is none.
        """
        with self._lock:
            if self.taken >= self._most:
                raise Refusal(429, "too many questions are waiting; try again in a few seconds", "busy")
            self.taken += 1

    def give_back(self) -> None:
        """Leave it."""
        with self._lock:
            self.taken -= 1


class Answering:
    """One question under way, advanced by a worker thread and stopped by the event loop."""

    def __init__(self, rungs: Rungs, question: Question, places: Places) -> None:
        self._cancel = threading.Event()
        self._events = cast("Generator[Event, None, None]", rungs.assistant.stream(question, self._cancel))
        self._places = places
        self._busy = threading.Lock()
        self._over = False

    async def events(self) -> AsyncIterator[Event]:
        """The pipeline's events; leaving early stops the engine."""
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(self._next))
                await asyncio.wait({step})
                event = step.result()
                if event is None:
                    return
                yield event
        finally:
            self.stop()

    def _next(self) -> Event | None:
        with self._busy:
            event = None
            try:
                event = next(self._events, None)
            finally:
                if event is None or self._cancel.is_set():
                    self._end()
            return None if self._over else event

    def stop(self) -> None:
        """Stop the engine; the place is free once it has noticed."""
        self._cancel.set()
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._events.close()
            self._places.give_back()


def api_router(rungs: Rungs, places: Places) -> APIRouter:
    """The routes, for one running assistant."""
    router = APIRouter(prefix=PREFIX, tags=["OpenAI-compatible"])

    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer a conversation's last question."""
        question = await asyncio.to_thread(question_of, rungs, asked)
        places.take()
        answering = Answering(rungs, question, places)
        if asked.stream:
            lines = stream_lines(answering, asked)
            return StreamingResponse(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})
        trace = await _whole(answering, request)
        return JSONResponse(completion(trace, asked.model))

    async def models() -> dict[str, Any]:
        """What may be asked."""
        return {"object": "list", "data": [_model(name) for name in MODELS]}

    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return _model(_known(name))

    router.add_api_route("/chat/completions", chat, methods=["POST"], response_model=None)
    router.add_api_route("/models", models, methods=["GET"])
    router.add_api_route("/models/{name:path}", model, methods=["GET"])
    return router


def add_api(app: FastAPI, rungs: Rungs, places: Places) -> None:
    """The routes, with errors in OpenAI's format."""
    app.include_router(api_router(rungs, places))

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)  # noqa: S101  (registered for it)
        headers = {"retry-after": str(BUSY_SECONDS)} if error.status == 429 else {}
        return JSONResponse(error.body, error.status, headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for it)
        first = error.errors()[0]
        known = first["type"] != "json_invalid"  # its place is a number of characters
        where = ".".join(str(part) for part in first["loc"] if part != "body" and known)
        return await refused(request, Refusal(400, f"{where or 'body'}: {first['msg']}", "invalid_request", where))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)


async def _whole(answering: Answering, request: Request) -> Trace:
    """The closed trace; a client that leaves stops the engine."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        answering.stop()

    watching = asyncio.ensure_future(left())
    try:
        async for event in answering.events():
            if isinstance(event, Finished):
                return event.trace
    except EXPECTED as error:
        raise _refused(error) from error
    finally:
        watching.cancel()
    raise Refusal(499, "the client left", "cancelled")


async def stream_lines(answering: Answering, asked: ChatRequest) -> AsyncIterator[str]:
    """Server-sent events: chunks, then how it ended, then `[DONE]`."""
    made, last, said = int(time.time()), None, False
    id = f"chatcmpl-{made:x}"

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        told = {"id": id, "object": "chat.completion.chunk", "created": made, "model": asked.model}
        return _line({**told, "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for event in answering.events():
            if isinstance(event, Words):
                said = True
                yield chunk({"content": event.text})
            elif isinstance(event, Climbing):
                yield f": {event.level} {event.state}\n\n"  # a comment, which keeps the connection awake
                if said and event.state == "failed":
                    yield chunk({"content": "\n\n"})  # what was sent cannot be taken back; what follows stands apart
            else:
                last = event.trace
    except EXPECTED as error:
        yield _line(_refused(error).body)
        return
    except Exception:
        log.exception("an answer over the API failed")
        yield _line(Refusal(500, "the answer failed in a way that nobody expected", "internal").body)
        return
    if last is None:
        return
    yield chunk({}, "stop", rungs=extension(last))
    if asked.stream_options and asked.stream_options.include_usage:
        told = {"id": id, "object": "chat.completion.chunk", "created": made, "model": asked.model}
        yield _line({**told, "choices": [], "usage": usage(last)})
    yield "data: [DONE]\n\n"


def question_of(rungs: Rungs, asked: ChatRequest) -> Question:
    """The last message as a question in its conversation.

    Raises:
        Refusal: no such model, the last message is no question, or it is too long.
    """
    level = MODELS[_known(asked.model)]
    *before, last = asked.messages
    if last.role != "user":
        raise Refusal(400, "the last message must be the user's", "invalid_messages", "messages")
    if sum(len(message.text) for message in asked.messages) > CHARACTERS_MAX:
        raise Refusal(400, f"the messages have more than {CHARACTERS_MAX:,} characters", "too_long", "messages")
    visitor = f"api {asked.user}".strip()
    conversation = rungs.traces.open_conversation(visitor, "api")
    return Question(last.text, conversation, tuple(_history(before)), "api", level)


def _history(messages: list[ChatMessage]) -> Iterator[Turn]:
    """Instructions of a client are not taken over: what Rungs tells its model stands in `prompts.py`."""
    for message in messages:
        if message.role in ("user", "assistant") and message.text.strip():
            yield Turn(message.role, message.text)


def completion(trace: Trace, model: str) -> dict[str, Any]:
    """A whole answer in OpenAI's format."""
    message = {"role": "assistant", "content": trace.answer.text, "refusal": None}
    return {
        "id": f"chatcmpl-{trace.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": usage(trace),
        "rungs": extension(trace),
    }


def usage(trace: Trace) -> dict[str, int]:
    """Tokens of every draft, held back ones included: that is what the answer cost."""
    drafts = [attempt.draft for attempt in trace.attempts if attempt.draft]
    read, written = sum(draft.tokens_in for draft in drafts), sum(draft.tokens_out for draft in drafts)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def extension(trace: Trace) -> dict[str, Any]:
    """What OpenAI's format has no place for."""
    answer = trace.answer
    return {
        "level": answer.level,
        "outcome": answer.outcome,
        "confidence": answer.confidence,
        "citations": [asdict(citation) for citation in answer.citations],
        "trace_id": trace.id,
        "conversation_id": trace.question.conversation_id,
        "seconds": round(trace.seconds, 3),
    }


def _known(name: str) -> str:
    if name not in MODELS:
        raise Refusal(404, f"there is no model {name!r}; there are {', '.join(MODELS)}", "model_not_found", "model")
    return name


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rungs"}


def _refused(error: Exception) -> Refusal:
    if isinstance(error, BadQuestion):
        return Refusal(400, str(error), "bad_question", "messages")
    return Refusal(503 if isinstance(error, AssistantError) else 500, str(error), "unavailable")


def _line(told: dict[str, Any]) -> str:
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"
