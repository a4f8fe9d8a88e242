"""What a widget sends to its door. Called by `door.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Field(None, max_length=64)
Once = Field("", max_length=64)


class Body(BaseModel):
    """What a widget sends."""

    model_config = ConfigDict(extra="ignore")


class SessionRequest(Body):
    """Who asks for a session."""

    site: str = Field(max_length=64)
    visitor: str | None = Field(None, max_length=200)
    identity: str | None = Field(None, max_length=8000)


class AskRequest(Body):
    """A question."""

    conversation: str | None = Id
    text: str = Field(max_length=100_000)
    once: str = Once


class PersonRequest(Body):
    """A person is wanted."""

    conversation: str | None = Id
    note: str = Field("", max_length=2000)
    once: str = Once


class FeedbackRequest(Body):
    """A thumb, for an answer or for what an agent wrote."""

    conversation: str = Field(max_length=64)
    trace_id: str | None = Id
    message_id: str | None = Id
    value: Literal[1, -1]
    reason: str = Field("", max_length=2000)


class FormRequest(Body):
    """What was asked before the chat began."""

    conversation: str | None = Id
    fields: dict[str, str] = Field(max_length=10)
