"""REST for programs: conversations with their traces, feedback, corrections, adapters; who may is in `access/doors.py`.

Thin: what is done is what the commands and the stores do. Knowledge stands in `rest_knowledge.py`, webhooks in
`rest_webhooks.py`. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request

from adapters.errors import AdapterError
from assistant.conversation_list import find_conversation, list_conversations
from assistant.corrections import Correction, State
from assistant.erasure import erase_conversation
from assistant.errors import AssistantError
from assistant.thread import thread_of
from assistant.types import Trace
from knowledge.errors import KnowledgeError
from ui.access.admission import Admission
from ui.access.budgets import payers
from ui.api.problems import Refusal, describes
from ui.api.rest_shapes import (
    AdapterList,
    ConversationList,
    CorrectionList,
    Decided,
    DecisionRequest,
    ErasedConversation,
    FeedbackRequest,
    Kept,
    Limit,
    Offset,
    ReviewRequest,
    TraceList,
    WholeConversation,
)
from ui.control import run_command

if TYPE_CHECKING:
    from assistant.build import Rungs

T = TypeVar("T")
Id = Annotated[str, Path(max_length=64)]


class Rest:
    """What the routes do, for one running assistant."""

    def __init__(self, rungs: Rungs, admission: Admission) -> None:
        self._rungs = rungs
        self._admission = admission

    async def conversations(self, limit: Limit = 100, offset: Offset = 0) -> ConversationList:
        """Conversations, those that were opened last first."""
        found = await asyncio.to_thread(list_conversations, self._rungs.engine, limit, offset)
        return ConversationList(conversations=list(found))

    async def conversation(self, id: Id) -> WholeConversation:
        """One of them with everything said in it, agents' notes included."""

        def read() -> WholeConversation:
            found = find_conversation(self._rungs.engine, id)
            entries = thread_of(self._rungs.traces, self._rungs.desk, found.id, notes=True)
            return WholeConversation(conversation=found, entries=list(entries))

        return await tried(read, 404)

    async def erase(self, id: Id) -> ErasedConversation:
        """Erase a conversation with everything that hangs on it: questions, traces, messages, corrections, files."""
        erased = await tried(lambda: erase_conversation(self._rungs.engine, id), 404)
        return ErasedConversation(corrections=erased.corrections, wiped=erased.wiped)

    async def traces(
        self,
        level: Literal["prompting", "rag", "lora"] | None = None,
        outcome: Literal["answered", "abstained", "handed_off", "interrupted"] | None = None,
        text: Annotated[str, Query(max_length=1000)] = "",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> TraceList:
        """Questions, the latest first."""
        found = await asyncio.to_thread(
            lambda: self._rungs.traces.find(level=level, outcome=outcome, text=text, limit=limit, offset=offset)
        )
        return TraceList(traces=list(found))

    async def trace(self, trace_id: Id) -> Trace:
        """One question at full depth."""
        return await tried(lambda: self._rungs.traces.load(trace_id), 404)

    async def feedback(self, given: FeedbackRequest, request: Request) -> Kept:
        """Say whether an answer was good."""

        def keep() -> Kept:
            self._rungs.traces.add_feedback(given.trace_id, given.value, given.reason)
            return Kept()

        await asyncio.to_thread(self._admission.budgets.take, *payers(request.scope))
        return await tried(keep, 404)

    async def corrections(self, state: State | None = None, limit: Limit = 100, offset: Offset = 0) -> CorrectionList:
        """What people corrected, the latest first."""

        def read() -> CorrectionList:
            store = self._rungs.corrections
            counts = {str(state): number for state, number in store.counts().items()}
            return CorrectionList(counts=counts, corrections=list(store.find(state, limit, offset)))

        return await asyncio.to_thread(read)

    async def review(self, id: Id, review: ReviewRequest, request: Request) -> Correction:
        """Approve or reject a correction."""
        by = name_of(request)
        return await tried(lambda: self._rungs.corrections.review(id, review.state, by, consent=review.consent), 404)

    async def adapters(self) -> AdapterList:
        """Every revision of every adapter."""
        return AdapterList(**await done(self._rungs, "adapters-list", {}))

    async def decide(self, name: Id, decision: DecisionRequest, request: Request) -> Decided:
        """Promote, roll back or retire."""
        arguments = {**decision.model_dump(exclude={"action"}), "name": name, "by": name_of(request)}
        return Decided(**await done(self._rungs, f"adapters-{decision.action}", arguments))


def rest_router(rungs: Rungs, admission: Admission) -> APIRouter:
    """The routes."""
    router, rest = APIRouter(prefix="/api"), Rest(rungs, admission)
    for method, path, work, tag, model, refusals in (
        ("GET", "/conversations", rest.conversations, "conversations", ConversationList, (400,)),
        ("GET", "/conversations/traces", rest.traces, "conversations", TraceList, (400,)),
        ("GET", "/conversations/traces/{trace_id}", rest.trace, "conversations", Trace, (400, 404)),
        ("GET", "/conversations/{id}", rest.conversation, "conversations", WholeConversation, (400, 404)),
        ("DELETE", "/conversations/{id}", rest.erase, "conversations", ErasedConversation, (400, 404)),
        ("POST", "/feedback", rest.feedback, "feedback", Kept, (400, 404, 413, 429)),
        ("GET", "/corrections", rest.corrections, "corrections", CorrectionList, (400,)),
        ("POST", "/corrections/{id}", rest.review, "corrections", Correction, (400, 404, 413)),
        ("GET", "/adapters", rest.adapters, "adapters", AdapterList, (409,)),
        ("POST", "/adapters/{name}", rest.decide, "adapters", Decided, (400, 404, 409, 413)),
    ):
        router.add_api_route(
            path, work, methods=[method], tags=[tag], response_model=model, responses=describes(*refusals)
        )
    return router


async def done(rungs: Rungs, command: str, arguments: Mapping[str, Any], refused: int = 409) -> dict[str, Any]:
    """A command's result.

    Raises:
        Refusal: what went wrong, in words, with status `refused`.
    """

    def run() -> dict[str, Any]:
        *_, last = run_command(rungs, command, arguments, threading.Event())
        return last

    last = await asyncio.to_thread(run)
    if "error" in last:
        raise Refusal(refused, last["error"])
    return dict(last["result"])


async def tried(work: Callable[[], T], refused: int) -> T:
    """What work in a thread gives.

    Raises:
        Refusal: an error for people became the status `refused`.
    """
    try:
        return await asyncio.to_thread(work)
    except (AssistantError, KnowledgeError, AdapterError) as error:
        raise Refusal(refused, str(error)) from error


def name_of(request: Request) -> str:
    """Who decides: the account's or the key's name; the owner where nobody logs in."""
    who = request.scope.get("rungs.who")
    return who.name if who else "owner"
