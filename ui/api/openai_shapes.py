"""The shapes of OpenAI's API: what `/v1` is sent and what it answers. Typed, so that the OpenAPI document is true.

What OpenAI's format has no place for (level, confidence, citations, trace) stands in the field `rungs`. Called by
`openai_door.py` and `mcp_door.py`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant.types import LEVEL_NAMES, Level, Outcome, Trace
from ui.access.admission import tokens_of

MODEL = "rungs"
MODELS: dict[str, Level | None] = {MODEL: None, **{f"{MODEL}/{level}": level for level in LEVEL_NAMES}}
MESSAGES_MAX = 200


class Part(BaseModel):
    """A part of a message; only texts are read."""

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says in words."""
        if isinstance(self.content, list):
            return "\n".join(part.text or "" for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """OpenAI's request. What would change how a model samples is accepted and has no effect: Rungs is greedy."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(MODEL, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MESSAGES_MAX)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(1, ge=1, le=1, description="one answer")
    user: str | None = Field(
        None, max_length=200, description="who asks; whoever is named so has conversations of their own"
    )


class Citation(BaseModel):
    """A sentence that supports an answer, with its address."""

    document: str
    title: str
    heading: str
    uri: str
    quote: str
    score: float
    passage_id: str
    passage: str
    start: int
    page: int | None
    source: str


class Extension(BaseModel):
    """How the answer was found."""

    level: Level | None
    outcome: Outcome
    confidence: float | None
    citations: list[Citation]
    trace_id: str
    conversation_id: str
    seconds: float


class Usage(BaseModel):
    """Tokens of every draft, held back ones included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: Said
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class Completion(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    rungs: Extension


class ModelShape(BaseModel):
    """A name that may be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rungs"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelShape]


def completion(trace: Trace, model: str) -> Completion:
    """A whole answer in OpenAI's format."""
    return Completion(
        id=f"chatcmpl-{trace.id}",
        created=int(time.time()),
        model=model,
        choices=[Choice(message=Said(content=trace.answer.text))],
        usage=usage(trace),
        rungs=extension(trace),
    )


def usage(trace: Trace) -> Usage:
    """What an answer cost."""
    read, written = tokens_of(trace)
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def extension(trace: Trace) -> Extension:
    """What OpenAI's format has no place for."""
    answer = trace.answer
    return Extension(
        level=answer.level,
        outcome=answer.outcome,
        confidence=answer.confidence,
        citations=[Citation(**asdict(citation)) for citation in answer.citations],
        trace_id=trace.id,
        conversation_id=trace.question.conversation_id,
        seconds=round(trace.seconds, 3),
    )


class Chunks:
    """The events of one streamed answer, each as a line."""

    def __init__(self, model: str, id: str) -> None:
        self._told = {
            "id": f"chatcmpl-{id}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model
        }  # fmt: skip

    def delta(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        """A piece of the answer, or its end."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return line({**self._told, "choices": [choice], **more})

    def usage(self, trace: Trace) -> str:
        """What it cost."""
        return line({**self._told, "choices": [], "usage": usage(trace).model_dump()})


def line(told: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"
