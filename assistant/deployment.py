"""Who answers now, and how that changes while questions are answered: adapters promoted or rolled back, a calibration.

A crew is one immutable state: a model with its adapters loaded, a calibration, an assistant for each adapter. A
question keeps the crew that it began with, from its first token to its last; a crew that was replaced gives its model
back once its last question is answered. Wires nothing: `build.py` makes crews.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from assistant.errors import ModelUnavailable
from assistant.halting import BY_RUNGS, Halt, Stopping
from assistant.types import Event, Evidence, Finished, Question, Trace

if TYPE_CHECKING:
    from collections.abc import Generator

    from assistant.answering import Answering
    from assistant.confidence import Calibration
    from assistant.pipeline import Assistant
    from assistant.types import ChatModel


@dataclass(frozen=True, slots=True)
class Crew:
    """One state of everything that answers."""

    model: ChatModel
    calibration: Calibration
    assistants: Mapping[str, Assistant]
    """By the name of the adapter that level lora serves; the empty name is for none."""
    sites: Mapping[str, str]
    """Adapter by site; `default` is for everybody else."""
    adapters: Mapping[str, str]
    """Version by name of the adapters that the model has loaded."""

    def assistant(self, site: str = "") -> Assistant:
        """The assistant of a site."""
        return self.assistants[self.sites.get(site, self.sites.get("default", ""))]


@dataclass(slots=True)
class _Post:
    """A crew and how many questions it answers at the moment."""

    crew: Crew
    questions: int = 0


class Deployment:
    """The crew in force. Thread-safe; answers like the assistant of that crew."""

    def __init__(self, crew: Crew, answering: Answering) -> None:
        self._answering = answering
        self._present = _Post(crew)
        self._posts = [self._present]
        self._lock = threading.Lock()
        self._closed = False
        self._streams = 0
        self._draining = False
        self._halted = threading.Event()

    @property
    def current(self) -> Crew:
        """The crew in force, to look at; whoever lets it work takes a `lease`."""
        return self._present.crew

    @contextmanager
    def lease(self) -> Iterator[Crew]:
        """The crew in force, which stays able to work until the block ends.

        Raises:
            ModelUnavailable: the deployment was closed.
        """
        with self._lock:
            if self._closed:
                raise ModelUnavailable("Rungs is stopping. Ask again once it runs.")
            post = self._present
            post.questions += 1
        try:
            with self._answering.one():
                yield post.crew
        finally:
            with self._lock:
                post.questions -= 1
                idle = self._idle_models()
            for model in idle:
                model.close()

    def exchange(self, crew: Crew) -> None:
        """Put another crew in force for every question that begins from now on."""
        with self._lock:
            self._present = _Post(crew)
            self._posts.append(self._present)
            idle = self._idle_models()
        for model in idle:
            model.close()

    def close(self) -> None:
        """Give back all models; questions that are still answered end with ModelUnavailable. Idempotent."""
        with self._lock:
            self._closed = True
            models = {id(post.crew.model): post.crew.model for post in self._posts}
            self._posts = []
        for model in models.values():
            model.close()

    @property
    def under_way(self) -> int:
        """Questions that somebody waits for now."""
        return self._streams

    def drain(self) -> None:
        """Take no further question; those under way are answered. Idempotent."""
        with self._lock:
            self._draining = True

    def halt(self) -> None:
        """Give up those under way, within a token: their askers are told, their traces closed as interrupted."""
        self.drain()
        self._halted.set()

    def stream(self, question: Question, cancel: threading.Event | None = None) -> Iterator[Event]:
        """See `Assistant.stream`; one crew answers the whole question.

        Raises:
            Stopping: no question is taken any more, or this one was given up.
        """
        halt, last = Halt(cancel or threading.Event(), self._halted), None
        with self._counted(), self.lease() as crew:
            events = cast("Generator[Event, None, None]", crew.assistant(question.site).stream(question, halt))
            with closing(events):
                for last in events:
                    yield last
        if not isinstance(last, Finished) and halt.reason == BY_RUNGS:
            raise Stopping(f"{BY_RUNGS}. Ask again in a moment.")

    def ask(self, question: Question) -> Trace:
        """Answer one question and wait for it."""
        *_, last = self.stream(question)
        assert isinstance(last, Finished)  # noqa: S101  (an uncancelled stream ends so)
        return last.trace

    def find(self, question: Question) -> Evidence:
        """The evidence for a question."""
        return self.current.assistant(question.site).find(question)

    def versions(self, site: str = "") -> Mapping[str, str]:
        """What answers, by version."""
        return self.current.assistant(site).versions()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            if self._draining:
                raise Stopping("Rungs is stopping. Ask again in a moment.")
            self._streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams -= 1

    def _idle_models(self) -> list[ChatModel]:
        """Models of crews that were replaced and have answered their last question. Called with the lock held."""
        gone = [post for post in self._posts if post is not self._present and not post.questions]
        self._posts = [post for post in self._posts if post not in gone]
        kept = {id(post.crew.model) for post in self._posts}
        return list({id(post.crew.model): post.crew.model for post in gone if id(post.crew.model) not in kept}.values())
