"""The widget's own door: sessions for visitors of other hosts' pages, questions as event streams, a person when wanted.

Deny by default: an origin that a site does not name gets nothing, not even a CORS header. Every call carries a short-
lived token in a header; there are no cookies. What a visitor sees is theirs. Wired by `server.py`; the script is
`script.py`, the pages that hold it are `pages.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from assistant.bulletin import conversation_topic
from assistant.erasure import erase_visitor
from assistant.errors import AssistantError
from assistant.export import as_json, as_markdown
from assistant.handing import kind_of
from assistant.thread import entry_of_message, history_of, thread_of
from assistant.types import Event, Question
from ui.access.admission import Admission
from ui.access.budgets import TurnedAway, address_of
from ui.advancing import Advancing, Streamed
from ui.live import changes, event_stream
from ui.widget.shapes import AskRequest, FeedbackRequest, FormRequest, PersonRequest, SessionRequest
from ui.widget.sites import Site, Sites
from ui.widget.visitor_tokens import BadToken, Visitor, VisitorTokens
from ui.widget.words import Wording, entry_json, event, told

if TYPE_CHECKING:
    from assistant.build import Rungs

PREFIX = "/widget/api"
SURFACE = "widget"
THREAD_TURNS = 100
STATES = {None: "assistant", "waiting": "waiting", "in_progress": "person"}


class WidgetDoor:
    """What the routes do, for one running assistant."""

    def __init__(self, rungs: Rungs, admission: Admission, sites: Sites) -> None:
        self._rungs = rungs
        self._admission = admission
        self._sites = sites
        self._tokens = VisitorTokens(rungs.engine, sites)
        self._wording = Wording(rungs)

    async def preflight(self, request: Request) -> Response:
        """Whether a page may ask at all: some site must name its origin."""
        origin = request.headers.get("origin", "")
        named = await asyncio.to_thread(lambda: any(origin in site.origins for site in self._sites.all() if site.open))
        if not named:
            return Response(status_code=403)
        allowed = {"access-control-allow-methods": "GET, POST", "access-control-max-age": "600"}
        return Response(
            status_code=204,
            headers={
                **_shared(origin),
                **allowed,
                "access-control-allow-headers": "authorization, content-type, rungs-retry",
            },
        )

    async def session(self, asked: SessionRequest, request: Request) -> Response:
        """A token for a visitor, with what the widget looks like on this site."""
        origin = request.headers.get("origin", "")
        site = await asyncio.to_thread(self._sites.find, asked.site)
        if site is None or site.key != asked.site or not site.open:
            return _refused(404, "site", "There is no such site.")
        if origin not in site.origins and not _is_own(request, origin):
            return _refused(403, "origin", "This page is not one of the site's.")
        try:
            begun = await asyncio.to_thread(self._begun, site, origin, asked)
        except BadToken as error:
            return _refused(401, error.code, str(error), origin)
        return JSONResponse(begun, headers=_shared(origin))

    def _begun(self, site: Site, origin: str, asked: SessionRequest) -> dict[str, Any]:
        visitor, secret = self._tokens.anonymous(site, origin, asked.visitor)
        if asked.identity:
            visitor = self._tokens.identified(site, origin, asked.identity, secret)
        latest = next(iter(self._rungs.traces.conversations(visitor.id)), None)
        return {
            "token": self._tokens.give(visitor),
            "expires_seconds": 900,
            "visitor": secret,
            "site": self._wording.settings(site),
            "conversation": latest.id if latest else None,
            "known": visitor.known,
            "name": visitor.name,
        }

    async def conversations(self, request: Request) -> Response:
        """This visitor's conversations, the latest first."""
        visitor = await self._visitor(request)
        found = await asyncio.to_thread(self._rungs.traces.conversations, visitor.id)
        return _answer(request, {"conversations": [told(summary) for summary in found]})

    async def conversation(self, id: str, request: Request) -> Response:
        """One of them, whole."""
        visitor = await self._visitor(request)
        return _answer(request, await asyncio.to_thread(self._whole, visitor, id))

    async def export(self, id: str, request: Request, form: Literal["json", "md"] = "json") -> Response:
        """One of them as a file to keep."""
        visitor = await self._visitor(request)
        make = as_json if form == "json" else as_markdown
        text = await asyncio.to_thread(lambda: make(self._rungs, self._opened(visitor, id)))
        file = {"content-disposition": f'attachment; filename="conversation.{form}"'}
        kind = "application/json" if form == "json" else "text/markdown"
        return Response(text, media_type=kind, headers=_shared(request.headers.get("origin", "")) | file)

    async def erase(self, request: Request) -> Response:
        """Erase everything that this visitor wrote, and what was answered."""
        visitor = await self._visitor(request)
        erased = await asyncio.to_thread(erase_visitor, self._rungs.engine, visitor.id)
        return _answer(request, {"conversations": erased.conversations, "wiped": erased.wiped})

    async def ask(self, asked: AskRequest, request: Request) -> Response:
        """A question, answered as an event stream; a person who has the conversation gets it instead."""
        visitor = await self._visitor(request)
        conversation = await asyncio.to_thread(self._opened, visitor, asked.conversation, asked.once)
        handoff = await asyncio.to_thread(self._rungs.desk.open_of, conversation)
        if handoff and handoff.state == "in_progress":
            said = await asyncio.to_thread(
                lambda: self._rungs.desk.say(conversation, "visitor", visitor.name, asked.text, once=asked.once)
            )
            lines = _stored(conversation, entry_json(entry_of_message(said)))
            return _stream(request, lines)
        who = (f"visitor:{visitor.id}", f"site:{visitor.site}", *address_of(request.scope))
        answering = await self._admission.let_in(
            self._rungs, lambda: self._question(visitor, conversation, asked), *who
        )
        lines = self._answered(answering, conversation, visitor)
        return _shared_with(request, Streamed(lines, answering, "text/event-stream"))

    async def live(self, request: Request, conversation: str, after: int = 0) -> Response:
        """What people write from now on, and who speaks."""
        visitor = await self._visitor(request)
        await asyncio.to_thread(self._opened, visitor, conversation)
        watched = _Watched(self._rungs, conversation, after)
        return _stream(request, changes(self._rungs.desk.bulletin, conversation_topic(conversation), watched.read))

    async def person(self, asked: PersonRequest, request: Request) -> Response:
        """Pass the conversation to a person."""
        visitor = await self._visitor(request)

        def pass_on() -> dict[str, Any]:
            conversation = self._opened(visitor, asked.conversation, asked.once)
            turns = self._rungs.traces.turns(conversation, 1)
            last = self._rungs.traces.load(turns[-1].trace_id) if turns and turns[-1].answer else None
            handoff = self._rungs.desk.hand_off(conversation, kind_of(last), asked.note)
            return {"conversation": conversation, "state": STATES[handoff.state], "agent": handoff.agent}

        return _answer(request, await asyncio.to_thread(pass_on))

    async def feedback(self, given: FeedbackRequest, request: Request) -> Response:
        """Whether an answer, or an agent's message, was good."""
        visitor = await self._visitor(request)

        def keep() -> None:
            conversation = self._opened(visitor, given.conversation)
            if given.message_id:
                self._rungs.desk.rate(conversation, given.message_id, given.value, given.reason)
            elif any(turn.trace_id == given.trace_id for turn in self._rungs.traces.turns(conversation)):
                self._rungs.traces.add_feedback(given.trace_id or "", given.value, given.reason)
            else:
                raise AssistantError("there is no such answer in this conversation.")

        await asyncio.to_thread(keep)
        return _answer(request, {"kept": True})

    async def form(self, given: FormRequest, request: Request) -> Response:
        """Keep what was asked before the chat, for agents to see."""
        visitor = await self._visitor(request)

        def keep() -> str:
            site = self._sites.find(visitor.site)
            wanted = {field.name: field.label for field in site.look.form} if site else {}
            lines = [f"{wanted[name]}: {text[:300]}" for name, text in given.fields.items() if name in wanted]
            conversation = self._opened(visitor, given.conversation)
            if lines:
                self._rungs.desk.say(conversation, "note", "form", "\n".join(lines))
            return conversation

        return _answer(request, {"conversation": await asyncio.to_thread(keep)})

    # parts

    async def _visitor(self, request: Request) -> Visitor:
        """Who asks, by their token.

        Raises:
            BadToken: it will not do, or the site does not serve this page any more.
        """
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        origin = request.headers.get("origin") or _own(request)
        if kind.lower() != "bearer":
            raise BadToken("a widget's call needs its token.")

        def read() -> Visitor:
            visitor = self._tokens.read(token, origin)
            site = self._sites.find(visitor.site)
            if site is None or not site.open or (origin not in site.origins and not _is_own(request, origin)):
                raise BadToken("this page is not served any more.", "origin")
            return visitor

        return await asyncio.to_thread(read)

    def _opened(self, visitor: Visitor, conversation: str | None, once: str = "") -> str:
        """The visitor's own conversation, or a new one.

        Raises:
            AssistantError: it is not theirs.
        """
        site = self._sites.find(visitor.site)
        name = site.name if site else ""
        return self._rungs.traces.open_conversation(visitor.id, SURFACE, conversation, name, once)

    def _question(self, visitor: Visitor, conversation: str, asked: AskRequest) -> Question:
        site = self._sites.find(visitor.site)
        history = history_of(self._rungs.traces, self._rungs.desk, conversation)
        return Question(asked.text, conversation, history, SURFACE, None, site.name if site else "", asked.once)

    def _whole(self, visitor: Visitor, id: str) -> dict[str, Any]:
        conversation = self._opened(visitor, id)
        handoff = self._rungs.desk.open_of(conversation)
        entries = thread_of(self._rungs.traces, self._rungs.desk, conversation, latest=THREAD_TURNS)
        return {
            "id": conversation,
            "state": STATES[handoff.state if handoff else None],
            "agent": handoff.agent if handoff else None,
            "entries": [entry_json(entry) for entry in entries],
        }

    async def _answered(self, answering: Advancing[Event], conversation: str, visitor: Visitor) -> AsyncIterator[str]:
        yield event("conversation", {"id": conversation})
        async for line in self._wording.lines(answering, visitor.id):
            yield line
        yield event("done", {})


class _Watched:
    """A conversation as somebody last saw it."""

    def __init__(self, rungs: Rungs, conversation: str, after: int) -> None:
        self._rungs = rungs
        self._conversation = conversation
        self._after = after
        self._state: tuple[str, str | None] | None = None

    async def read(self) -> str:
        """Events for what is new."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        lines = []
        for said in self._rungs.desk.messages(self._conversation, self._after):
            self._after = said.number
            lines.append(event("entry", entry_json(entry_of_message(said))))
        handoff = self._rungs.desk.open_of(self._conversation)
        state = (STATES[handoff.state if handoff else None], handoff.agent if handoff else None)
        if state != self._state:
            self._state = state
            lines.append(event("state", {"state": state[0], "agent": state[1]}))
        return "".join(lines)


def add_widget(app: FastAPI, rungs: Rungs, admission: Admission, sites: Sites) -> None:
    """The routes, with errors that the script can show."""
    door = WidgetDoor(rungs, admission, sites)
    router = APIRouter(prefix=PREFIX)
    router.add_api_route("/{path:path}", door.preflight, methods=["OPTIONS"], response_model=None)
    for method, path, work in (
        ("POST", "/session", door.session),
        ("GET", "/conversations", door.conversations),
        ("GET", "/conversations/{id}", door.conversation),
        ("GET", "/conversations/{id}/export", door.export),
        ("POST", "/erase", door.erase),
        ("POST", "/ask", door.ask),
        ("GET", "/live", door.live),
        ("POST", "/person", door.person),
        ("POST", "/feedback", door.feedback),
        ("POST", "/form", door.form),
    ):
        router.add_api_route(path, _guarded(work), methods=[method], response_model=None)
    app.include_router(router, include_in_schema=False)


def _guarded(work: Any) -> Any:
    """A route whose refusals reach the script in words, with the CORS header without which it may not read them."""
    from functools import wraps

    @wraps(work)
    async def guarded(*args: Any, **kwargs: Any) -> Response:
        request: Request = kwargs["request"]
        origin = request.headers.get("origin", "")
        try:
            response: Response = await work(*args, **kwargs)
            return response
        except BadToken as error:
            return _refused(403 if error.code == "origin" else 401, error.code, str(error), origin)
        except TurnedAway as error:
            return _refused(error.status, error.code, str(error), origin, retry_seconds=error.seconds)
        except AssistantError as error:
            return _refused(400, "refused", str(error), origin)

    return guarded


def _own(request: Request) -> str:
    """The origin of our own pages, which browsers leave out of GET requests to it."""
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def _is_own(request: Request, origin: str) -> bool:
    host = request.headers.get("host", "")
    return bool(host) and origin in (f"https://{host}", f"http://{host}")


def _shared(origin: str) -> dict[str, str]:
    headers = {"access-control-allow-origin": origin, "access-control-expose-headers": "retry-after"} if origin else {}
    return {"vary": "Origin", "cache-control": "no-store", **headers}


def _answer(request: Request, body: Any) -> JSONResponse:
    return JSONResponse(body, headers=_shared(request.headers.get("origin", "")))


def _stream(request: Request, lines: AsyncIterator[str]) -> StreamingResponse:
    return _shared_with(request, event_stream(lines))


def _shared_with(request: Request, response: StreamingResponse) -> StreamingResponse:
    response.headers.update(_shared(request.headers.get("origin", "")))
    return response


def _refused(status: int, code: str, message: str, origin: str = "", retry_seconds: int = 0) -> JSONResponse:
    headers = _shared(origin) | ({"retry-after": str(retry_seconds)} if retry_seconds else {})
    return JSONResponse({"error": {"message": message, "code": code}}, status, headers)


async def _stored(conversation: str, entry: dict[str, Any]) -> AsyncIterator[str]:
    yield event("conversation", {"id": conversation})
    yield event("said", entry)
    yield event("done", {})
