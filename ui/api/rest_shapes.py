"""What the REST routes are sent and what they answer. Typed, so that the OpenAPI document is true.

Called by `rest.py` and its like.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from assistant.answer_pairs import ANSWER_MAX, QUESTION_MAX
from assistant.conversation_list import Conversation
from assistant.corrections import Correction
from assistant.stored import TraceSummary
from assistant.thread import Entry
from knowledge.listing import DocumentSummary
from knowledge.types import Passage, SourceSummary
from ui.api.webhooks import Delivery, Webhook, WebhookEvent

Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Limit = Annotated[int, Query(ge=1, le=500)]
# a request's first line holds 64 KiB, and a letter takes up to twelve bytes of it
Source = Annotated[str, Query(max_length=2000, description="as `GET /api/knowledge/sources` names it")]
Document = Annotated[str, Query(min_length=1, max_length=2000)]


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


class ReviewRequest(BaseModel):
    """What a reviewer says of a correction."""

    state: Literal["approved", "rejected"]
    consent: bool | None = Field(None, description="whether it may be trained on; null leaves it as it was said")


class Pair(BaseModel):
    """A question with the answer that is to be given."""

    question: str = Field(min_length=1, max_length=QUESTION_MAX)
    answer: str = Field(min_length=1, max_length=ANSWER_MAX)


class PairsRequest(BaseModel):
    """Answer pairs, kept as a document each; one of the same question is replaced."""

    pairs: list[Pair] = Field(min_length=1, max_length=1000)


class WebhookRequest(BaseModel):
    """Where which events go."""

    url: str = Field(max_length=2000)
    events: list[WebhookEvent] = Field(min_length=1, max_length=20)


class Failed(BaseModel):
    """A file that could not be taken in, and why."""

    source: str
    reason: str


class Ingested(BaseModel):
    """What was added, as numbers of documents, and the passages now there."""

    added: int
    updated: int
    unchanged: int
    removed: int
    failed: list[Failed]
    passages: int
    seconds: float


class SourceList(BaseModel):
    """Where what is known comes from."""

    sources: list[SourceSummary]


class Found(BaseModel):
    """A passage that was found."""

    document: str
    title: str
    heading: str
    text: str
    score: float
    similarity: float


class FoundList(BaseModel):
    """The nearest passages, best first."""

    results: list[Found]


class Removed(BaseModel):
    """What was removed, as a number of documents."""

    source: str
    removed: int


class DocumentList(BaseModel):
    """A page of documents."""

    documents: list[DocumentSummary]


class PassageList(BaseModel):
    """A document as it is found."""

    passages: list[Passage]


class ErasedConversation(BaseModel):
    """A conversation that is gone for good."""

    corrections: int = Field(description="approved ones among what went: adapters may have been trained on them")
    wiped: bool = Field(description="whether it is overwritten on the disk, too; else with the next erasure")


class TraceList(BaseModel):
    """A page of questions."""

    traces: list[TraceSummary]


class ConversationList(BaseModel):
    """A page of conversations."""

    conversations: list[Conversation]


class WholeConversation(BaseModel):
    """A conversation with everything said in it, oldest first."""

    conversation: Conversation
    entries: list[Entry]


class Kept(BaseModel):
    """It is on disk."""

    kept: Literal[True] = True


class CorrectionList(BaseModel):
    """A page of corrections, and how many there are in each state."""

    counts: dict[str, int]
    corrections: list[Correction]


class Adapter(BaseModel):
    """One revision of an adapter."""

    name: str
    revision: str
    stage: str
    created_at: str
    rank: int
    loss_first: float | None
    loss_last: float | None
    gate: str | None
    promoted_by: str | None
    reason: str | None


class Decided(Adapter):
    """A revision after a decision: how long it took to serve it, and whether its confidence is calibrated."""

    seconds: float
    calibrated: bool | None
    """None where it is not served now."""


class AdapterList(BaseModel):
    """Every revision of every adapter, whom each is served to, and cards that cannot be read."""

    adapters: list[Adapter]
    sites: dict[str, str]
    problems: list[str]


class WebhookList(BaseModel):
    """Every webhook."""

    events: list[WebhookEvent]
    webhooks: list[Webhook]


class NewWebhook(BaseModel):
    """A webhook with its secret, which is told here and nowhere else."""

    webhook: Webhook
    secret: str


class DeliveryList(BaseModel):
    """A page of what was sent to a webhook, the latest first."""

    deliveries: list[Delivery]
