"""The end user's page (Gradio): ask, watch the climb, read the answer with its level and its sources, reach a person.

Formats events of the pipeline and wires buttons; what is decided stands in the trace. A turn is two messages: the
question, and the answer with its climb (folded away once done). Mounted by `server.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from assistant import suggestions
from assistant.errors import AssistantError
from assistant.handing import Kind, kind_of
from assistant.sources import seen_on
from assistant.thread import history_of
from assistant.types import Climbing, Finished, Question, Words
from knowledge.errors import KnowledgeError
from ui import present
from ui.access.admission import tokens_of
from ui.access.budgets import Budgets, TurnedAway, address_of, limits_of
from ui.access.visitors import new_visitor, secret_of_browser, visitor_of, who_asks
from ui.chat.layout import layout
from ui.chat.own import OwnData
from ui.chat.turns import Shown, Turns, messages, news, place_of, stored, thumbs
from ui.chat.wiring import wire

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

__all__ = ["ChatPage", "build_chat", "messages"]
CACHE = (3600, 3600)
"""Seconds: what was uploaded and never taken up is removed."""

UPDATES_PER_SECOND = 12
UNEXPECTED = "Sorry, something went wrong while I was answering. Please try again, or contact support."
PASSED_ON = (
    "Passed on. Somebody from support will read your questions, what was tried, and your note, and write to you here. "
    "You can close this page and come back on this device; until they join, the assistant goes on answering."
)
A_PERSON = "A person is answering now: write to them instead."
NOT_THE_ASSISTANTS = "Only a question to the assistant can be asked again."


@dataclass(frozen=True, slots=True)
class ChatPage:
    """What the page's handlers need. One for the whole server; a visitor's state is in the browser and in SQL."""

    rungs: Rungs
    budgets: Budgets
    running: dict[str, threading.Event] = field(default_factory=dict)
    """What each open page is waiting for, by its session, so that Stop and closing the page reach the engine."""
    visitors: dict[str, str] = field(default_factory=dict)
    """New visitors by session, while their page is open: it may ask before it has heard who its visitor is."""
    left: dict[str, str | None] = field(default_factory=dict)
    """What each open page showed before its conversation: a refresh that was asked for there comes too late."""

    def open(self, visitor: str | None, conversation: str | None, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened or reloaded: the visitor, their conversation as it stands."""
        secret = secret_of_browser(visitor) or self._fresh(request)
        return secret, *self.load(self._visitor(secret, request), conversation)

    def load(self, visitor: str, conversation: str | None) -> tuple[Any, ...]:
        """One of the visitor's own conversations, or an empty page."""
        conversation = self._theirs(visitor, conversation)
        turns = stored(self.rungs, conversation) if conversation else ()
        return conversation, turns, self._chatbot(visitor, turns), self._list(visitor, conversation), self._k(visitor)

    def show(self, visitor: str, conversation: str | None, before: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Another conversation, or a new one, in place of the one before; an answer still being written is given up."""
        session = request.session_hash or ""
        cancel = self.running.pop(session, None)
        if cancel:
            cancel.set()
        self.left[session] = before if before != conversation else None
        return self.load(self._visitor(visitor, request), conversation)

    def refresh(self, visitor: str, conversation: str | None, turns: Turns, request: gr.Request) -> tuple[Any, ...]:
        """Something changed: what was written since, and who is spoken to. Yields turns, chat and banner."""
        if conversation and conversation == self.left.get(request.session_hash or ""):
            return gr.skip(), gr.skip(), gr.skip()
        conversation = self._theirs(self._visitor(visitor, request), conversation)
        if conversation is None:
            return gr.skip(), gr.skip(), ""
        handoff = self.rungs.desk.open_of(conversation)
        banner = present.banner_html(handoff.state, handoff.agent or "") if handoff else ""
        if self.busy(request):  # an answer is growing; what was written meanwhile comes once it stands
            return gr.skip(), gr.skip(), banner
        now = news(turns, stored(self.rungs, conversation))
        if now == turns:
            return gr.skip(), gr.skip(), banner
        return now, gr.update(value=messages(now), feedback_value=thumbs(now)), banner

    def busy(self, request: gr.Request) -> bool:
        """Whether this page waits for an answer."""
        return (request.session_hash or "") in self.running

    def ask(
        self, text: str | None, visitor: str, conversation: str | None, turns: Turns, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Answer a question; yields the page's outputs as the answer grows. None: asked while another is answered."""
        if text is None:
            yield (gr.skip(),) * 5
            return
        text = text.strip()
        if not text:
            yield conversation, turns, messages(turns), gr.skip(), "Type a question first."
            return
        cancel = threading.Event()
        session = request.session_hash or ""
        self.running[session] = cancel
        try:
            visitor = self._visitor(visitor, request)
            conversation, turns = self._own(visitor, conversation, turns)
            if self._has_person(conversation):
                yield self._told_person(text, conversation, turns)
                return
            turn = Shown(text)
            for turn in self._answered(Shown(text), conversation, cancel, payers(visitor, request)):
                if self.running.get(session) is not cancel:
                    yield (gr.skip(),) * 5  # the page shows another conversation by now; Gradio repeats the last item
                    return
                yield conversation, (*turns, turn), messages((*turns, turn)), gr.skip(), gr.skip()
            turns = (*turns, replace(turn, done=True, offers=self._offers(visitor, turn)))
            yield conversation, turns, messages(turns), self._list(visitor, conversation), self._k(visitor)
        finally:
            cancel.set()
            if self.running.get(session) is cancel:
                self.running.pop(session, None)

    def stop(self, request: gr.Request) -> None:
        """The Stop button or Escape: the engine stops within a token."""
        cancel = self.running.get(request.session_hash or "")
        if cancel:
            cancel.set()

    def leave(self, request: gr.Request) -> None:
        """A page was closed or reloaded: nobody waits for its answer, and its browser knows who its visitor is."""
        self.stop(request)
        self.visitors.pop(request.session_hash or "", None)
        self.left.pop(request.session_hash or "", None)

    def again(
        self, index: Any, text: str | None, visitor: str, conversation: str | None, turns: Turns, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Retry or edit: the turn and later ones leave the conversation, and the question is asked (anew)."""
        number = place_of(turns, index)
        if text is None or number >= len(turns):
            yield from self.ask(text, visitor, conversation, turns, request)
            return
        turn = turns[number]
        conversation, turns = self._own(self._visitor(visitor, request), conversation, turns)
        refused = A_PERSON if self._has_person(conversation) else NOT_THE_ASSISTANTS
        if turn.speaker != "assistant" or refused is A_PERSON:
            yield conversation, turns, messages(turns), gr.skip(), refused
            return
        if turns and turn.trace_id:
            self.rungs.traces.supersede(conversation, turn.trace_id)
        yield from self.ask(text or turn.question, visitor, conversation, turns[:number], request)

    def thumb(self, index: Any, liked: bool, turns: Turns, reason: str = "", conversation: str | None = None) -> str:
        """Keep a thumb of an answer or of an agent's message. Returns what to tell the visitor."""
        number = place_of(turns, index)
        value: Literal[1, -1] = 1 if liked else -1
        if number >= len(turns) or not turns[number].answered:
            return "That answer was not finished, so there is nothing to rate."
        if turns[number].speaker == "agent":
            self.rungs.desk.rate(conversation or "", turns[number].trace_id, value, reason)
            return "Thank you. That was stored for the support team."
        self.rungs.traces.add_feedback(turns[number].trace_id, value, reason)
        return "Thank you. That was stored for the owner."

    def contact(
        self, note: str, visitor: str, conversation: str | None, turns: Turns, request: gr.Request
    ) -> tuple[str | None, str]:
        """Hand the conversation to a person, with why they are needed. Returns the conversation and what to tell."""
        conversation, turns = self._own(self._visitor(visitor, request), conversation, turns)
        self.rungs.desk.hand_off(conversation, self._kind(conversation), note)
        return conversation, PASSED_ON

    def opened(self, visitor: str, conversation: str | None, request: gr.Request) -> str:
        """The visitor's conversation to go on with, or a new one."""
        return self._own(self._visitor(visitor, request), conversation, ())[0]

    # parts

    def _visitor(self, visitor: str | None, request: gr.Request) -> str:
        return visitor_of(who_asks(request), visitor) or self._fresh(request)

    def _fresh(self, request: gr.Request) -> str:
        return self.visitors.setdefault(request.session_hash or "", new_visitor())

    def _theirs(self, visitor: str, conversation: str | None) -> str | None:
        """A conversation, where it is the visitor's own."""
        try:
            return self.rungs.traces.open_conversation(visitor, "chat", conversation) if conversation else None
        except AssistantError:
            return None

    def _has_person(self, conversation: str) -> bool:
        handoff = self.rungs.desk.open_of(conversation)
        return handoff is not None and handoff.state == "in_progress"

    def _told_person(self, text: str, conversation: str, turns: Turns) -> tuple[Any, ...]:
        """The visitor's words go to the person who has the conversation; the assistant is silent."""
        try:
            self.rungs.desk.say(conversation, "visitor", "", text)
        except AssistantError as error:
            return conversation, turns, messages(turns), gr.skip(), str(error)
        turns = news(turns, stored(self.rungs, conversation))
        return conversation, turns, messages(turns), gr.skip(), ""

    def _own(self, visitor: str, conversation: str | None, turns: Turns) -> tuple[str, Turns]:
        """The visitor's own conversation to go on with; a new one where the browser names none of theirs."""
        if conversation:
            try:
                return self.rungs.traces.open_conversation(visitor, "chat", conversation), turns
            except AssistantError:
                log.warning("a page named a conversation that is not its visitor's; a new one was started")
        return self.rungs.traces.open_conversation(visitor, "chat"), ()

    def _answered(
        self, turn: Shown, conversation: str, cancel: threading.Event, who: tuple[str, ...]
    ) -> Iterator[Shown]:
        """The turn as it grows, at most `UPDATES_PER_SECOND` times a second."""
        history = history_of(self.rungs.traces, self.rungs.desk, conversation)
        question = Question(turn.question, conversation, history, "chat")
        written, shown_at = "", 0.0
        try:
            yield turn
            self.budgets.take(*who)
            for event in self.rungs.assistant.stream(question, cancel):
                if isinstance(event, Climbing):
                    written = ""  # a step after words withdraws them
                    turn = replace(turn, climb=(*turn.climb, present.climb_line(event)), answer="")
                elif isinstance(event, Words):
                    written += event.text
                    turn = replace(turn, answer=present.words_html(written))
                    if time.monotonic() - shown_at < 1 / UPDATES_PER_SECOND:
                        continue
                elif isinstance(event, Finished):
                    self.budgets.spend(who, sum(tokens_of(event.trace)))
                    climb = tuple(present.climb_of(event.trace))
                    answer = present.answer_html(event.trace.answer)
                    turn = replace(turn, climb=climb, answer=answer, trace_id=event.trace.id, answered=True)
                shown_at = time.monotonic()
                yield turn
            if not turn.answered:
                turn = replace(turn, answer=present.stopped_html(written), trace_id=self._latest(conversation))
        except TurnedAway as error:
            again = f"Ask again in {in_words(error.seconds)}."
            turn = replace(turn, answer=present.problem_html(f"{error} {again}"))
        except (AssistantError, KnowledgeError) as error:
            turn = replace(turn, answer=present.problem_html(str(error)))
        except Exception:  # the page's edge: whatever it was, the visitor is told and the log keeps it
            log.exception("answering failed")
            turn = replace(turn, answer=present.problem_html(UNEXPECTED), trace_id=self._latest(conversation))
        yield turn

    def _kind(self, conversation: str) -> Kind:
        """Why a person is needed, by what was answered last."""
        turns = self.rungs.traces.turns(conversation, 1)
        return kind_of(self.rungs.traces.load(turns[-1].trace_id) if turns and turns[-1].answer else None)

    def _latest(self, conversation: str) -> str:
        """The record of a question that ended without an answer, so that a retry can take its place."""
        turns = self.rungs.traces.turns(conversation, 1)
        return turns[-1].trace_id if turns and turns[-1].answer is None else ""

    def _questions(self) -> tuple[str, ...]:
        return suggestions.pool(self.rungs.store, keep=seen_on("chat", self.rungs.settings.internal_sources))

    def _chatbot(self, visitor: str, turns: Turns) -> Any:
        offered = suggestions.opening(self._questions(), self.rungs.traces.asked(visitor), visitor)
        examples = [{"text": text} for text in offered]
        return gr.update(value=messages(turns), feedback_value=thumbs(turns), examples=examples)

    def _offers(self, visitor: str, turn: Shown) -> tuple[str, ...]:
        if not turn.answered:
            return ()
        answer = self.rungs.traces.load(turn.trace_id).answer
        return suggestions.following(self.rungs.store, self._questions(), self.rungs.traces.asked(visitor), answer)

    def _list(self, visitor: str, conversation: str | None) -> Any:
        choices = [(summary.title or "(untitled)", summary.id) for summary in self.rungs.traces.conversations(visitor)]
        return gr.update(choices=choices, value=conversation, visible=bool(choices))

    def _k(self, visitor: str) -> str:
        questions = self._questions()
        if not questions:
            return "There are no documents here yet. The owner can add some with: rungs ingest PATH"
        explored = suggestions.explored(questions, self.rungs.traces.asked(visitor))
        return f"{explored} of {len(questions)} questions explored"


def payers(visitor: str, request: gr.Request) -> tuple[str, ...]:
    """Whose budgets a question uses."""
    inner = getattr(request, "request", None)
    return (f"visitor:{visitor}", *(address_of(inner.scope) if inner is not None else ()))


def in_words(seconds: int) -> str:
    """A time to wait, as people say it."""
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"


def build_chat(rungs: Rungs) -> gr.Blocks:
    """The page."""
    page = ChatPage(rungs, Budgets(rungs.engine, limits_of(rungs.settings)))
    with gr.Blocks(title="Rungs", fill_height=True, analytics_enabled=False, delete_cache=CACHE) as blocks:
        parts = layout(rungs.settings.question_characters)
        wire(page, OwnData(rungs, page), parts, blocks)
    return blocks
