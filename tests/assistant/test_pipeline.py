"""The cascade's promises, on levels made for the test: order, honesty, recording."""

import threading
from collections.abc import Iterator, Mapping

import pytest

from assistant.errors import BadQuestion, ModelUnavailable
from assistant.pipeline import Assistant
from assistant.types import (
    Attempt,
    Citation,
    Climbing,
    Draft,
    Evidence,
    Finished,
    Level,
    Question,
    Trace,
    TransferLevel,
    Words,
)

QUOTE = Citation("a.md", "A", "", "", "quote", 0.5)


class Recorder:
    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []

    def begin(self, question: Question, versions: Mapping[str, str]) -> str:
        self.log.append(("begin", question.text))
        return "t1"

    def finish(self, trace: Trace) -> None:
        self.log.append(("finish", trace))

    def interrupted(self, trace_id: str, reason: str) -> None:
        self.log.append(("interrupted", reason))


class Rung:
    def __init__(
        self, name: Level, accepts: bool, skip: str | None = None, fails: bool = False, words: int = 1
    ) -> None:
        self.name, self.accepts, self.skip, self.fails, self.words = name, accepts, skip, fails, words
        self.tried = 0

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        return self.skip

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        self.tried += 1
        if self.fails:
            raise ModelUnavailable("the engine is gone")
        text = f"draft of {self.name}"
        for word in text.split()[: self.words] if self.accepts else ():
            if cancel.is_set():
                break
            yield Words(word)
        yield Attempt(self.name, self.accepts, draft=Draft(text, (QUOTE,)), confidence=0.7, threshold=0.5)


def assistant(*levels: TransferLevel, recorder: Recorder | None = None) -> Assistant:
    return Assistant(levels, lambda q: Evidence((q.text,)), recorder or Recorder(), lambda: {"model": "m"}, 1000)


def test_the_first_level_that_is_accepted_answers_and_later_ones_are_not_tried() -> None:
    prompting, rag, lora = Rung("prompting", False), Rung("rag", True), Rung("lora", True)
    trace = assistant(prompting, rag, lora).ask(Question("why?", "c"))
    assert (trace.answer.level, trace.answer.outcome) == ("rag", "answered")
    assert (prompting.tried, rag.tried, lora.tried) == (1, 1, 0)
    assert [a.level for a in trace.attempts] == ["prompting", "rag", "lora"]
    assert trace.attempts[2].skipped_because == "level rag answered"


def test_a_rejected_draft_is_never_shown() -> None:
    events = list(assistant(Rung("prompting", False), Rung("rag", False)).stream(Question("why?", "c")))
    shown = " ".join(event.text for event in events if isinstance(event, Words))
    assert "draft of" not in shown
    last = events[-1]
    assert isinstance(last, Finished) and "draft of" not in last.trace.answer.text
    assert last.trace.answer.outcome == "abstained" and last.trace.answer.citations == (QUOTE,)


def test_a_skipped_level_says_why() -> None:
    trace = assistant(Rung("prompting", True, skip="not today"), Rung("rag", True)).ask(Question("why?", "c"))
    assert trace.attempts[0].skipped_because == "not today"
    assert trace.route.steps[0].skipped_because == "not today"


def test_a_level_that_fails_is_recorded_and_the_climb_goes_on() -> None:
    trace = assistant(Rung("prompting", True, fails=True), Rung("rag", True)).ask(Question("why?", "c"))
    assert trace.attempts[0].failure == "the engine is gone"
    assert trace.answer.level == "rag"


def test_when_everything_failed_the_asker_is_told_so() -> None:
    trace = assistant(Rung("prompting", True, fails=True)).ask(Question("why?", "c"))
    assert "something failed" in trace.answer.text


def test_the_row_is_begun_before_the_first_word_and_finished_before_the_last_event() -> None:
    recorder = Recorder()
    seen = []
    for event in assistant(Rung("rag", True), recorder=recorder).stream(Question("why?", "c")):
        seen.append((type(event).__name__, [name for name, _ in recorder.log]))
    assert seen[0] == ("Climbing", ["begin"])
    assert seen[-1] == ("Finished", ["begin", "finish"])


def test_a_stopped_answer_is_closed_as_interrupted_and_ends_without_finished() -> None:
    recorder, cancel = Recorder(), threading.Event()
    events = []
    for event in assistant(Rung("rag", True, words=3), recorder=recorder).stream(Question("why?", "c"), cancel):
        events.append(event)
        if isinstance(event, Words):
            cancel.set()
    assert not any(isinstance(event, Finished) for event in events)
    assert recorder.log[-1] == ("interrupted", "stopped by the asker")


def test_an_asker_who_leaves_closes_the_row() -> None:
    recorder = Recorder()
    stream = assistant(Rung("rag", True), recorder=recorder).stream(Question("why?", "c"))
    next(stream)
    stream.close()
    assert recorder.log[-1] == ("interrupted", "the asker left")


def test_asking_for_a_person_hands_off_without_trying_a_level() -> None:
    rung = Rung("rag", True)
    trace = assistant(rung).ask(Question("can I talk to a human please", "c"))
    assert trace.answer.outcome == "handed_off" and rung.tried == 0


def test_a_forced_level_is_the_only_one_tried() -> None:
    prompting, rag = Rung("prompting", True), Rung("rag", True)
    trace = assistant(prompting, rag).ask(Question("why?", "c", level="rag"))
    assert trace.answer.level == "rag" and prompting.tried == 0


@pytest.mark.parametrize("text", ["", "   \n", "\x00\x00", "\ud800"])
def test_an_empty_question_is_refused_and_leaves_no_row(text: str) -> None:
    recorder = Recorder()
    with pytest.raises(BadQuestion, match="empty"):
        assistant(Rung("rag", True), recorder=recorder).ask(Question(text, "c"))
    assert recorder.log == []


def test_a_megabyte_is_refused_with_its_size() -> None:
    with pytest.raises(BadQuestion, match="1,000,000"):
        assistant(Rung("rag", True)).ask(Question("x" * 1_000_000, "c"))


@pytest.mark.parametrize("text", ["متى يفتح المتجر؟", "a\x00b", "x\ud800y", "né\u200fe"])
def test_awkward_text_is_answered_and_recorded_clean(text: str) -> None:
    trace = assistant(Rung("rag", True)).ask(Question(text, "c"))
    assert "\x00" not in trace.question.text
    trace.question.text.encode("utf-8")


def test_climbing_tells_the_climb() -> None:
    events = [e for e in assistant(Rung("prompting", False), Rung("rag", True)).stream(Question("why?", "c"))]
    climb = [(e.level, e.state) for e in events if isinstance(e, Climbing)]
    assert climb == [("prompting", "trying"), ("prompting", "rejected"), ("rag", "trying"), ("rag", "accepted")]
