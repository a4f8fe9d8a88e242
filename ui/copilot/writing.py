"""What the model does on the agents' page (Gradio): drafts, rewritings, summaries. Nobody's draft starves a visitor.

One place of the engine at least is left to visitors where there are two; an agent who moves on stops what was written
for them. Wired by `page.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.drafting import AgentDraft, agent_draft, question_of, to_answer, tried, unanswered
from assistant.rewriting import Change, Rewritten, cannot_write, rewrite, summarise, translate
from assistant.thread import thread_of
from assistant.types import ChatModel, Climbing, Finished, Level, Words
from ui import present
from ui.control import EXPECTED
from ui.present import desk as present_desk

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)
UNEXPECTED = "Something went wrong. The server's log says more."
POLL_SECONDS = 0.1
DRAFT, TEXT, SUMMARY = "draft", "text", "summary"
NOTHING_TO_DO = "Write something first, or use the draft."
MADE_BY_MODEL, AS_IT_HAPPENED = "Written by the model; read the conversation before you rely on it.", "As it happened."
Waiting = Iterator[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Running:
    """What is being written for one page."""

    about: str
    """The visitor's message that is drafted for."""
    cancel: threading.Event


@dataclass(frozen=True, slots=True)
class Writing:
    """Handlers that let the model write. One for the whole server."""

    rungs: Rungs
    places: threading.Semaphore
    """How many agents' texts are written side by side."""
    running: dict[str, Running] = field(default_factory=dict)
    """By page and kind."""

    def draft_if_new(self, handoff_id: str, level: str, drafted: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Draft for the visitor's last message where nobody answered it, and it was not drafted for already.

        Yields the draft, its HTML, and the message that it is for.
        """
        key = self._open_question(handoff_id)
        running = self.running.get(_slot(request, DRAFT))
        if not key or key == drafted or (running is not None and running.about == key):
            yield (gr.skip(),) * 3
            return
        yield from self.draft(handoff_id, level, request)

    def draft(self, handoff_id: str, level: str, request: gr.Request) -> Waiting:
        """Draft for the visitor's last message, whoever answered it."""
        if not handoff_id:
            yield None, present_desk.NO_DRAFT, ""
            return
        handoff = self.rungs.desk.find(handoff_id)
        asked = to_answer(thread_of(self.rungs.traces, self.rungs.desk, handoff.conversation_id))
        if asked is None:
            yield None, present_desk.NO_DRAFT, ""
            return
        key = f"{handoff_id}:{asked.id}"
        with self._at_work(request, DRAFT, key) as work:
            try:
                question = question_of(self.rungs.traces, self.rungs.desk, handoff, asked, _level(level))
                for draft, shown in self._drafted(question, work.cancel):
                    if self.running.get(_slot(request, DRAFT)) is not work:
                        yield (gr.skip(),) * 3
                        return
                    yield draft, shown, key
            except EXPECTED as error:
                yield None, present.problem_html(str(error)), key
            except Exception:  # the page's edge
                log.exception("drafting failed")
                yield None, present.problem_html(UNEXPECTED), key

    def stop(self, request: gr.Request) -> None:
        """Whatever is being written for this page stops within a token."""
        for kind in (DRAFT, TEXT, SUMMARY):
            self._stop(_slot(request, kind))

    def changed(self, text: str, change: Change, undo: tuple[str, ...], request: gr.Request) -> Waiting:
        """Rewrite the answer. Yields the answer, what to tell, what Undo goes back to, and the Undo button."""

        def written(model: ChatModel, cancel: threading.Event) -> Iterator[str | Rewritten]:
            return rewrite(model, text, change, cancel)

        yield from self._rewritten(text, undo, written, request)

    def translated(self, text: str, language: str, undo: tuple[str, ...], request: gr.Request) -> Waiting:
        """Translate the answer, where the model can; yields as `changed`."""
        refused = cannot_write(self.rungs.settings, language)
        if refused:
            yield gr.skip(), present_desk.warning_html(refused), gr.skip(), gr.skip()
            return

        def written(model: ChatModel, cancel: threading.Event) -> Iterator[str | Rewritten]:
            return translate(model, text, language, cancel)

        yield from self._rewritten(text, undo, written, request)

    def summarised(self, handoff_id: str, request: gr.Request) -> Iterator[str]:
        """The conversation in a few sentences; as it happened where the model's cannot be trusted."""
        if not handoff_id:
            yield ""
            return
        handoff = self.rungs.desk.find(handoff_id)
        plain = tried(self.rungs.traces, handoff)
        entries = thread_of(self.rungs.traces, self.rungs.desk, handoff.conversation_id)
        with self._at_work(request, SUMMARY) as work:
            end = Rewritten("", "The model is busy or gone.")
            try:
                with self._place(work.cancel), self.rungs.assistant.lease() as crew:
                    for item in summarise(crew.model, entries, work.cancel):
                        if isinstance(item, Rewritten):
                            end = item
                        else:
                            yield present_desk.summary_html(item, "Being written …")
            except EXPECTED as error:
                end = Rewritten("", str(error))
        if end.text:
            yield present_desk.summary_html(f"{end.text}\n\n{plain}", MADE_BY_MODEL)
        else:
            yield present_desk.summary_html(plain, f"{AS_IT_HAPPENED} {end.warning}")

    # parts

    def _drafted(self, question: Any, cancel: threading.Event) -> Iterator[tuple[AgentDraft | None, str]]:
        climb, written = "Waiting for a place …", ""
        yield None, present.climb_html((climb,), False)
        with self._place(cancel):
            for event in self.rungs.assistant.stream(question, cancel):
                if isinstance(event, Climbing):
                    written = ""
                    yield None, present.climb_html((present.climb_line(event),), False)
                elif isinstance(event, Words):
                    written += event.text
                    yield None, present.words_html(written)
                elif isinstance(event, Finished):
                    draft = agent_draft(event.trace, self.rungs.settings.internal_sources)
                    yield draft, present_desk.draft_html(draft)
                    return
        yield None, present.stopped_html("")

    def _rewritten(
        self, text: str, undo: tuple[str, ...],
        written: Callable[[ChatModel, threading.Event], Iterator[str | Rewritten]], request: gr.Request,
    ) -> Waiting:  # fmt: skip
        if not text.strip():
            yield gr.skip(), present_desk.warning_html(NOTHING_TO_DO), gr.skip(), gr.skip()
            return
        end = Rewritten(text, UNEXPECTED)
        with self._at_work(request, TEXT) as work:
            yield gr.skip(), present_desk.told_html("Rewriting …"), gr.skip(), gr.skip()
            try:
                with self._place(work.cancel), self.rungs.assistant.lease() as crew:
                    for item in written(crew.model, work.cancel):
                        if isinstance(item, Rewritten):
                            end = item
                        elif item:
                            yield item, gr.skip(), gr.skip(), gr.skip()
            except EXPECTED as error:
                end = Rewritten(text, str(error))
            except Exception:  # the page's edge
                log.exception("rewriting failed")
        undo = (*undo, text) if end.text != text else undo
        yield end.text, present_desk.warning_html(end.warning), undo, gr.update(visible=bool(undo))

    def _open_question(self, handoff_id: str) -> str:
        if not handoff_id:
            return ""
        handoff = self.rungs.desk.find(handoff_id)
        if handoff.state == "resolved":
            return ""
        asked = unanswered(thread_of(self.rungs.traces, self.rungs.desk, handoff.conversation_id))
        return f"{handoff_id}:{asked.id}" if asked else ""

    @contextmanager
    def _at_work(self, request: gr.Request, kind: str, about: str = "") -> Iterator[Running]:
        """Writing for a page in this block; what of this kind was written for it before stops."""
        slot, work = _slot(request, kind), Running(about, threading.Event())
        self._stop(slot)
        self.running[slot] = work
        try:
            yield work
        finally:
            work.cancel.set()
            if self.running.get(slot) is work:
                self.running.pop(slot, None)

    def _stop(self, slot: str) -> None:
        running = self.running.pop(slot, None)
        if running:
            running.cancel.set()

    @contextmanager
    def _place(self, cancel: threading.Event) -> Iterator[None]:
        """One of the places for agents' texts, waited for until it is free or the agent has moved on."""
        taken = False
        while not taken and not cancel.is_set():
            taken = self.places.acquire(timeout=POLL_SECONDS)
        try:
            yield
        finally:
            if taken:
                self.places.release()


def _slot(request: gr.Request, kind: str) -> str:
    return f"{request.session_hash}:{kind}"


def _level(chosen: str) -> Level | None:
    return None if chosen == "auto" else chosen  # type: ignore[return-value]
