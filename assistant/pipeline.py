"""How a question travels: find evidence, plan the route, try the levels in order, answer, record.

The whole story in one screen. Nothing here knows a surface, a database or a library; all parts come from `build.py`.
Surfaces call `Assistant.stream` and format its events; `ask` drains the same generator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from assistant import language, prompts, routing
from assistant.errors import BadQuestion, ModelError
from assistant.halting import BY_ASKER, Halt
from assistant.types import (
    Answer,
    Attempt,
    Climbing,
    Event,
    Evidence,
    Finished,
    Question,
    Step,
    Trace,
    TransferLevel,
    Words,
)

FindEvidence = Callable[[Question], Evidence]


class Recorder(Protocol):
    """Keeps traces; `assistant.traces.TraceStore` is the real one."""

    def begin(self, question: Question, versions: Mapping[str, str]) -> str:
        """Record that a question was asked; its id is returned once the row is on disk."""
        ...

    def finish(self, trace: Trace) -> None:
        """Close the row with everything that happened."""
        ...

    def interrupted(self, trace_id: str, reason: str) -> None:
        """Close the row without an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Assistant:
    """The cascade. Safe to use from several threads: it holds parts, no state."""

    levels: Sequence[TransferLevel]
    find: FindEvidence
    traces: Recorder
    versions: Callable[[], Mapping[str, str]]
    characters_max: int
    person_topics: Sequence[str] = ()
    """Words or phrases; a question that holds one is for people only."""
    languages: Sequence[str] = ()
    """What is answered in; empty is any."""

    def stream(self, question: Question, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Answer one question.

        Yields:
            The climb as it happens, the words of an accepted level, and last `Finished` with the closed trace. A
            stream that is cancelled or closed ends without `Finished`; its trace is closed as interrupted.

        Raises:
            BadQuestion: empty or too long; nothing is recorded.
        """
        question, cancel = self._checked(question), cancel or threading.Event()
        started, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
        versions = dict(self.versions())
        trace_id = self.traces.begin(question, versions)
        reason = "the asker left"
        try:
            evidence = self.find(question)
            route = routing.plan(question, evidence, self.levels, self.person_topics, self.languages)
            attempts = yield from self._climb(question, evidence, route.steps, cancel)
            if cancel.is_set():
                reason = cancel.reason if isinstance(cancel, Halt) else BY_ASKER
                return
            answer = self._conclude(question, evidence, attempts)
            if not any(attempt.accepted for attempt in attempts):
                yield Words(answer.text)
            seconds = time.monotonic() - started
            trace = Trace(trace_id, question, evidence, route, attempts, answer, versions, seconds, started_at)
            self.traces.finish(trace)
            reason = ""
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            if reason:
                self.traces.interrupted(trace_id, reason)
        yield Finished(trace)

    def ask(self, question: Question) -> Trace:
        """Answer one question and wait for it."""
        *_, last = self.stream(question)
        assert isinstance(last, Finished)  # noqa: S101  (an uncancelled stream ends so)
        return last.trace

    def _climb(
        self, question: Question, evidence: Evidence, steps: Sequence[Step], cancel: threading.Event
    ) -> Generator[Event, None, tuple[Attempt, ...]]:
        attempts: list[Attempt] = []
        answered_by = None
        for level, step in zip(self.levels, steps, strict=True):
            skipped = f"level {answered_by} answered" if answered_by else step.skipped_because
            if skipped:
                attempts.append(Attempt(level.name, skipped_because=skipped))
                if not answered_by:
                    yield Climbing(level.name, "skipped", skipped)
                continue
            yield Climbing(level.name, "trying")
            attempt = yield from self._try(level, question, evidence, cancel)
            attempts.append(attempt)
            if cancel.is_set():
                break
            yield Climbing.of(attempt)
            answered_by = level.name if attempt.accepted else None
        return tuple(attempts)

    def _try(
        self, level: TransferLevel, question: Question, evidence: Evidence, cancel: threading.Event
    ) -> Generator[Event, None, Attempt]:
        started = time.monotonic()
        attempt = Attempt(level.name)
        try:
            for item in level.attempt(question, evidence, cancel):
                if isinstance(item, Words):
                    yield item
                else:
                    attempt = item
        except ModelError as error:
            attempt = replace(attempt, accepted=False, failure=str(error))
        return replace(attempt, seconds=time.monotonic() - started)

    def _conclude(self, question: Question, evidence: Evidence, attempts: Sequence[Attempt]) -> Answer:
        for attempt in attempts:
            if attempt.accepted and attempt.draft:
                draft = attempt.draft
                return Answer(draft.text, "answered", attempt.level, attempt.confidence, draft.citations)
        if routing.for_a_person(question, self.person_topics):
            return Answer(prompts.HANDED_OFF, "handed_off")
        spoken = language.foreign(question.text, self.languages) if question.level is None else None
        if spoken:
            return Answer(language.sorry(spoken, self.languages), "abstained")
        tried = [attempt for attempt in attempts if attempt.skipped_because is None]
        if tried and all(attempt.failure for attempt in tried):
            return Answer(prompts.UNAVAILABLE, "abstained")
        closest = next((a.draft.citations for a in attempts if a.draft and a.draft.citations), ())
        if not closest:
            text = prompts.ABSTAIN if evidence.hits else prompts.NOTHING_FOUND
            return Answer(text + prompts.ABSTAIN_PERSON, "abstained")
        return Answer(
            prompts.ABSTAIN + prompts.ABSTAIN_SOURCES + prompts.ABSTAIN_PERSON, "abstained", citations=closest
        )

    def _checked(self, question: Question) -> Question:
        text = "".join(
            c for c in question.text if c == "\n" or c == "\t" or (c >= " " and not "\ud800" <= c <= "\udfff")
        )
        text = text.strip()
        if not text:
            raise BadQuestion("the question is empty. Type a question and send it again.")
        if len(text) > self.characters_max:
            raise BadQuestion(
                f"the question has {len(text):,} characters; at most {self.characters_max:,} are read. Shorten it."
            )
        return replace(question, text=text)
