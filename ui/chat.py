"""The end user's page (Gradio): ask, watch the climb, read the answer with its level and its sources, reach a person.

Formats events of the pipeline and wires buttons; what is decided stands in the trace. A turn is two messages: the
question, and the answer with its climb (folded away once done). Mounted by `server.py`.
"""

from __future__ import annotations

import html
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant import suggestions
from assistant.errors import AssistantError
from assistant.handing import Kind, kind_of
from assistant.sources import seen_on
from assistant.thread import history_of
from assistant.types import Climbing, Finished, Question, Words
from knowledge.errors import KnowledgeError
from ui import present
from ui.chat_layout import layout

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

MESSAGES_PER_TURN = 2
UPDATES_PER_SECOND = 12
VISITOR_BYTES = 16
BUSY = "One answer at a time. Press Stop (or Esc) to ask something else."
UNEXPECTED = "Sorry, something went wrong while I was answering. Please try again, or contact support."
REMEMBERED = (  # once the chat is on the page: what comes before that is lost on it
    "async () => { while (!document.querySelector('#chat [role=log]')) await new Promise((go) => setTimeout(go, 30)); "
    "return ['visitor', 'conversation'].map((name) => localStorage.getItem('rungs-' + name) || ''); }"
)
REMEMBER = "(value) => { localStorage.setItem('rungs-%s', value || ''); return []; }"


@dataclass(frozen=True, slots=True)
class Shown:
    """One turn as the page shows it."""

    question: str
    climb: tuple[str, ...] = ()
    answer: str = ""
    """HTML out of `present.py`."""
    trace_id: str = ""
    answered: bool = False
    """False where it was stopped or failed: there is nothing to rate then."""
    rated: int = 0
    done: bool = False
    offers: tuple[str, ...] = ()
    """Suggested questions below the answer."""


Turns = tuple[Shown, ...]


def messages(turns: Sequence[Shown]) -> list[dict[str, Any]]:
    """Turns as Gradio's messages, always two a turn."""
    shown: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        last = number == len(turns) - 1
        offers = [{"value": offer, "label": offer} for offer in turn.offers] if last else []
        content = present.climb_html(turn.climb, turn.done) + turn.answer
        shown += [
            {"role": "user", "content": present.asked(turn.question)},
            {"role": "assistant", "content": content, "options": offers},
        ]
    return shown


@dataclass(frozen=True, slots=True)
class ChatPage:
    """What the page's handlers need. One for the whole server; a visitor's state is in the browser and in SQL."""

    rungs: Rungs
    running: dict[str, threading.Event]
    """What each open page is waiting for, by its session, so that Stop and closing the page reach the engine."""
    visitors: dict[str, str] = field(default_factory=dict)
    """New visitors by session, while their page is open: it may ask before it has heard who its visitor is."""

    def open(self, visitor: str | None, conversation: str | None, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened or reloaded: the visitor, their conversation as it stands."""
        visitor = self._visitor(visitor, request)
        return visitor, *self.load(visitor, conversation)

    def load(self, visitor: str, conversation: str | None) -> tuple[Any, ...]:
        """One of the visitor's own conversations, or an empty page."""
        known = {summary.id for summary in self.rungs.traces.conversations(visitor)}
        conversation = conversation if conversation in known else None
        turns = self._stored(conversation) if conversation else ()
        return conversation, turns, self._chatbot(visitor, turns), self._list(visitor, conversation), self._k(visitor)

    def show(self, visitor: str, conversation: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Another conversation, or a new one, in place of what is shown; an answer still being written is given up."""
        cancel = self.running.pop(request.session_hash or "", None)
        if cancel:
            cancel.set()
        return self.load(visitor, conversation)

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
            turn = Shown(text)
            for turn in self._answered(Shown(text), conversation, cancel):
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

    def again(
        self, index: Any, text: str | None, visitor: str, conversation: str | None, turns: Turns, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Retry or edit: the turn and later ones leave the conversation, and the question is asked (anew)."""
        number = (index[0] if isinstance(index, (tuple, list)) else int(index)) // MESSAGES_PER_TURN
        if text is None or number >= len(turns):
            yield from self.ask(text, visitor, conversation, turns, request)
            return
        turn = turns[number]
        conversation, turns = self._own(visitor, conversation, turns)
        if turns and turn.trace_id:
            self.rungs.traces.supersede(conversation, turn.trace_id)
        yield from self.ask(text or turn.question, visitor, conversation, turns[:number], request)

    def thumb(self, index: Any, liked: bool, turns: Turns, reason: str = "") -> str:
        """Keep a thumb. Returns what to tell the visitor."""
        number = (index[0] if isinstance(index, (tuple, list)) else int(index)) // MESSAGES_PER_TURN
        if number >= len(turns) or not turns[number].answered:
            return "That answer was not finished, so there is nothing to rate."
        self.rungs.traces.add_feedback(turns[number].trace_id, 1 if liked else -1, reason)
        return "Thank you. That was stored for the owner."

    def contact(self, note: str, visitor: str, conversation: str | None, turns: Turns) -> tuple[str | None, str]:
        """Hand the conversation to a person, with a summary of it. Returns the conversation and what to tell."""
        visitor = visitor or secrets.token_hex(VISITOR_BYTES)
        conversation, turns = self._own(visitor, conversation, turns)
        self.rungs.desk.hand_off(conversation, self._kind(conversation), note)
        return conversation, "Passed on. A person will see your questions, what was tried, and your note."

    # parts

    def _visitor(self, visitor: str | None, request: gr.Request) -> str:
        return visitor or self.visitors.setdefault(request.session_hash or "", secrets.token_hex(VISITOR_BYTES))

    def _own(self, visitor: str, conversation: str | None, turns: Turns) -> tuple[str, Turns]:
        """The visitor's own conversation to go on with; a new one where the browser names none of theirs."""
        if conversation:
            try:
                return self.rungs.traces.open_conversation(visitor, "chat", conversation), turns
            except AssistantError:
                log.warning("a page named a conversation that is not its visitor's; a new one was started")
        return self.rungs.traces.open_conversation(visitor, "chat"), ()

    def _answered(self, turn: Shown, conversation: str, cancel: threading.Event) -> Iterator[Shown]:
        """The turn as it grows, at most `UPDATES_PER_SECOND` times a second."""
        history = history_of(self.rungs.traces, self.rungs.desk, conversation)
        question = Question(turn.question, conversation, history, "chat")
        written, shown_at = "", 0.0
        try:
            yield turn
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
                    climb = tuple(present.climb_of(event.trace))
                    answer = present.answer_html(event.trace.answer)
                    turn = replace(turn, climb=climb, answer=answer, trace_id=event.trace.id, answered=True)
                shown_at = time.monotonic()
                yield turn
            if not turn.answered:
                turn = replace(turn, answer=present.stopped_html(written), trace_id=self._latest(conversation))
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

    def _stored(self, conversation: str) -> Turns:
        shown = []
        for stored in self.rungs.traces.turns(conversation):
            answer = present.answer_html(stored.answer) if stored.answer else present.stopped_html("")
            climb: tuple[str, ...] = ()
            if stored.answer:
                climb = tuple(present.climb_of(self.rungs.traces.load(stored.trace_id)))
            answered = stored.answer is not None
            shown.append(Shown(stored.question, climb, answer, stored.trace_id, answered, stored.feedback, True))
        return tuple(shown)

    def _questions(self) -> tuple[str, ...]:
        return suggestions.pool(self.rungs.store, keep=seen_on("chat", self.rungs.settings.internal_sources))

    def _chatbot(self, visitor: str, turns: Turns) -> Any:
        offered = suggestions.opening(self._questions(), self.rungs.traces.asked(visitor), visitor)
        thumbs = [{1: "Like", -1: "Dislike"}.get(turn.rated) for turn in turns]
        examples = [{"text": text} for text in offered]
        return gr.update(value=messages(turns), feedback_value=thumbs, examples=examples)

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


def build_chat(rungs: Rungs) -> gr.Blocks:
    """The page."""
    page = ChatPage(rungs, {})
    with gr.Blocks(title="Rungs", fill_height=True, analytics_enabled=False) as blocks:
        parts = layout(rungs.settings.question_characters)
        _wire(page, parts, blocks)
    return blocks


def _wire(page: ChatPage, parts: Mapping[str, Any], blocks: gr.Blocks) -> None:
    """Events to handlers."""
    who, chat = parts["visitor"], parts["chatbot"]
    state = [parts["visitor"], parts["conversation"], parts["turns"]]
    shown = [parts["conversation"], parts["turns"], chat, parts["list"], parts["status"]]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    pending, place = gr.State(""), gr.State(None)

    def chain(
        start: Any, read: Any, read_from: Any, read_to: Sequence[Any], answer: Any, inputs: Sequence[Any]
    ) -> None:
        """Read what was asked, show Stop, let the answer grow, hide Stop."""
        started = start(read, read_from, [*read_to, parts["stop"], parts["status"]], queue=False, **hidden)
        answered = started.then(answer, inputs, shown, **hidden)
        answered.then(stoppable, None, parts["stop"], queue=False, **hidden)

    def stoppable(request: gr.Request) -> Any:
        return gr.update(visible=page.busy(request))

    def taken(question: str, request: gr.Request) -> tuple[str | None, Any, Any]:
        """The question (None while another is answered), the Stop button, the status line."""
        busy = page.busy(request)
        return None if busy else question, gr.update(visible=True), BUSY if busy else gr.skip()

    def typed(text: str, request: gr.Request) -> tuple[Any, ...]:
        question, *others = taken(text, request)
        return question, text if question is None else "", *others

    def chosen(event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        value = event.value
        return taken(str(value["text"] if isinstance(value, dict) and "text" in value else value), request)

    def retry(event: gr.RetryData, request: gr.Request) -> tuple[Any, ...]:
        return event.index, *taken("", request)

    def edit(event: gr.EditData, request: gr.Request) -> tuple[Any, ...]:
        return event.index, *taken(html.unescape(str(event.value)), request)

    asked, anew = [pending, *state], [place, pending, *state]
    chain(parts["text"].submit, typed, parts["text"], [pending, parts["text"]], page.ask, asked)
    chain(chat.example_select, chosen, None, [pending], page.ask, asked)
    chain(chat.option_select, chosen, None, [pending], page.ask, asked)
    chain(chat.retry, retry, None, [place, pending], page.again, anew)
    chain(chat.edit, edit, None, [place, pending], page.again, anew)
    parts["stop"].click(page.stop, None, None, queue=False, **hidden)
    blocks.unload(page.leave)
    # read when the page is there, not when Gradio's own browser state happens to be; kept as soon as it changes
    blocks.load(page.open, [who, parts["conversation"]], [who, *shown], js=REMEMBERED, **hidden)
    for name in ("visitor", "conversation"):
        parts[name].change(None, parts[name], None, js=REMEMBER % name, **hidden)
    parts["list"].input(page.show, [who, parts["list"]], shown, **hidden)
    none = gr.State(None)
    for start in (parts["fresh"].click, chat.clear):
        start(page.show, [who, none], shown, **hidden)
    _wire_people(page, parts, state, hidden)


def _wire_people(page: ChatPage, parts: Mapping[str, Any], state: Sequence[Any], hidden: dict[str, Any]) -> None:
    """Thumbs and the way to a person."""

    def rate(event: gr.LikeData, turns: Turns) -> tuple[Any, str, Any]:
        liked = event.liked is True or event.liked == "Like"
        return event.index, page.thumb(event.index, liked, turns), gr.update(visible=not liked)

    def explain(index: Any, reason: str | None, words: str, turns: Turns) -> tuple[str, Any, str]:
        told = ": ".join(part for part in (reason or "", (words or "").strip()) if part)
        return page.thumb(index, False, turns, told), gr.update(visible=False), ""

    def pass_on(note: str, visitor: str, conversation: str | None, turns: Turns) -> tuple[Any, str, Any, str]:
        conversation, told = page.contact(note or "", visitor, conversation, turns)
        return conversation, told, gr.update(visible=False), ""

    parts["chatbot"].like(
        rate, parts["turns"], [parts["rated"], parts["status"], parts["reason_box"]], queue=False, **hidden
    )
    parts["reason_send"].click(
        explain,
        [parts["rated"], parts["reason"], parts["reason_text"], parts["turns"]],
        [parts["status"], parts["reason_box"], parts["reason_text"]],
        queue=False,
        **hidden,
    )
    boxes, closed = [parts["contact_box"], parts["reason_box"]], gr.update(visible=False)
    parts["contact"].click(lambda: (gr.update(visible=True), closed), None, boxes, queue=False, **hidden)
    for close in (parts["contact_close"], parts["reason_close"]):
        close.click(lambda: (closed, closed), None, boxes, queue=False, **hidden)
    parts["contact_send"].click(
        pass_on,
        [parts["note"], *state],
        [parts["conversation"], parts["status"], parts["contact_box"], parts["note"]],
        queue=False,
        **hidden,
    )
