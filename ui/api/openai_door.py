"""The OpenAI-compatible door: `/v1/chat/completions` and `/v1/models`, so that existing clients work unchanged.

The model `rungs` is the cascade, `rungs/rag` and its like are one level alone. Parses and formats; decides nothing.
Shapes stand in `openai_shapes.py`, refusals in `problems.py`. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from assistant.errors import AssistantError, BadQuestion
from assistant.halting import Stopping
from assistant.types import Climbing, Event, Finished, Question, Trace, Turn, Words
from knowledge.text import clean
from ui.access.admission import Admission
from ui.access.budgets import payers
from ui.advancing import Advancing, Streamed
from ui.api.openai_shapes import (
    MODELS,
    ChatMessage,
    ChatRequest,
    Chunks,
    Completion,
    ModelList,
    ModelShape,
    completion,
    extension,
    line,
)
from ui.api.problems import Refusal, describes
from ui.control import EXPECTED

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

PREFIX = "/v1"
CHARACTERS_MAX = 200_000
SERVER_SENT = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "description": "with `stream`: events, whose `data` is a chat.completion.chunk, an error, or [DONE]",
            "properties": {"data": {"type": "string"}},
            "required": ["data"],
        }
    }
}
NO_LEVEL = "level lora answers with an adapter, and none is promoted. Ask the model rungs, or promote one."


def api_router(rungs: Rungs, admission: Admission) -> APIRouter:
    """The routes, for one running assistant."""
    router = APIRouter(prefix=PREFIX, tags=["OpenAI-compatible"])

    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer a conversation's last question."""
        check(rungs, asked)
        who = payers(request.scope)
        named = (f"visitor:{who[0]} {asked.user}",) if who and asked.user else ()  # each of a program's own visitors
        answering = await admission.let_in(rungs, lambda: question_of(rungs, asked), *who, *named)
        if asked.stream:
            return Streamed(stream_lines(answering, asked), answering, "text/event-stream")
        trace = await _whole(answering, request)
        told = completion(trace, asked.model)
        return Response(told.model_dump_json(), media_type="application/json")

    async def models() -> ModelList:
        """What may be asked."""
        return ModelList(data=[ModelShape(id=name) for name in MODELS])

    async def model(name: str) -> ModelShape:
        """One of them."""
        return ModelShape(id=_known(name))

    answers: dict[int | str, dict[str, Any]] = {200: {"model": Completion, "content": SERVER_SENT}}
    router.add_api_route(
        "/chat/completions", chat, methods=["POST"], response_model=None,
        responses={**answers, **describes(400, 404, 409, 413, 429)},
    )  # fmt: skip
    router.add_api_route("/models", models, methods=["GET"], responses=describes())
    router.add_api_route("/models/{name:path}", model, methods=["GET"], responses=describes(400, 404))
    return router


def add_api(app: FastAPI, rungs: Rungs, admission: Admission) -> None:
    """The routes."""
    app.include_router(api_router(rungs, admission))


async def _whole(answering: Advancing[Event], request: Request) -> Trace:
    """The closed trace; a client that leaves stops the engine."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        answering.stop()

    watching = asyncio.ensure_future(left())
    try:
        async for event in answering.steps():
            if isinstance(event, Finished):
                return event.trace
    except Stopping:
        raise  # with a time to come back
    except EXPECTED as error:
        raise _refused(error) from error
    finally:
        watching.cancel()
    raise Refusal(503, "the answer was given up", "cancelled")  # nobody is there to read it


async def stream_lines(answering: Advancing[Event], asked: ChatRequest) -> AsyncIterator[str]:
    """Server-sent events: chunks, then how it ended, then `[DONE]`."""
    chunks, last, said = Chunks(asked.model, secrets.token_hex(8)), None, False
    yield chunks.delta({"role": "assistant", "content": ""})
    try:
        async for event in answering.steps():
            if isinstance(event, Words):
                said = True
                yield chunks.delta({"content": event.text})
            elif isinstance(event, Climbing):
                yield f": {event.level} {event.state}\n\n"  # a comment, which keeps the connection awake
                if said and event.state == "failed":
                    yield chunks.delta({"content": "\n\n"})  # what was sent cannot be taken back; the rest stands apart
            else:
                last = event.trace
    except EXPECTED as error:
        yield line(_refused(error).body)
        return
    except Exception:
        log.exception("an answer over the API failed")
        yield line(Refusal(500, "the answer failed in a way that nobody expected", "internal").body)
        return
    if last is None:
        return
    yield chunks.delta({}, "stop", rungs=extension(last).model_dump())
    if asked.stream_options and asked.stream_options.include_usage:
        yield chunks.usage(last)
    yield "data: [DONE]\n\n"


def check(rungs: Rungs, asked: ChatRequest) -> None:
    """Refuse what need not wait for a place.

    Raises:
        Refusal: no such model, the last message is no question, or it is too long; level lora has no adapter.
    """
    level = MODELS[_known(asked.model)]
    if asked.messages[-1].role != "user":
        raise Refusal(400, "the last message must be the user's", "invalid_messages", "messages")
    if sum(len(message.text) for message in asked.messages) > CHARACTERS_MAX:
        raise Refusal(400, f"the messages have more than {CHARACTERS_MAX:,} characters", "too_long", "messages")
    text = clean(asked.messages[-1].text).strip()
    if not text:
        raise Refusal(400, "the question is empty. Type a question and send it again.", "bad_question", "messages")
    most = rungs.settings.question_characters
    if len(text) > most:
        raise Refusal(400, f"the question has more than {most:,} characters", "bad_question", "messages")
    sites = rungs.assistant.current.sites
    if level == "lora" and not sites.get("", sites.get("default", "")):
        raise Refusal(409, NO_LEVEL, "no_adapter", "model")


def question_of(rungs: Rungs, asked: ChatRequest) -> Question:
    """The last message as a question in its conversation."""
    *before, last = asked.messages
    visitor = f"api {asked.user or ''}".strip()
    conversation = rungs.traces.open_conversation(visitor, "api")
    return Question(clean(last.text), conversation, tuple(_history(before)), "api", MODELS[asked.model])


def _history(messages: list[ChatMessage]) -> Iterator[Turn]:
    """Instructions of a client are not taken over: what Rungs tells its model stands in `prompts.py`."""
    for message in messages:
        if message.role in ("user", "assistant") and message.text.strip():
            yield Turn(message.role, clean(message.text))


def _known(name: str) -> str:
    if name not in MODELS:
        raise Refusal(404, f"there is no model {name!r}; there are {', '.join(MODELS)}", "model_not_found", "model")
    return name


def _refused(error: Exception) -> Refusal:
    if isinstance(error, BadQuestion):
        return Refusal(400, str(error), "bad_question", "messages")
    return Refusal(503 if isinstance(error, AssistantError) else 500, str(error), "unavailable")
