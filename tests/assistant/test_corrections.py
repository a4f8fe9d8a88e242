"""Corrections: kept with draft and distance, reviewed by a person, and rows only once approved."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from adapters.reading import Unsaid, example_of
from assistant.corrections import CHARACTERS_MAX, CorrectionStore, distance
from assistant.errors import AssistantError
from assistant.prompts import DECLINE
from assistant.traces import TraceStore
from assistant.types import Answer, Attempt, Draft, Evidence, Outcome, Question, Route, Trace, Turn

SAID = "Press the red button. [1]"


@pytest.fixture
def engine(engine_of_each: Engine) -> Engine:
    return engine_of_each


@pytest.fixture
def traces(engine: Engine) -> TraceStore:
    return TraceStore(engine)


@pytest.fixture
def store(traces: TraceStore, engine: Engine) -> CorrectionStore:
    return CorrectionStore(engine)


def asked(traces: TraceStore, outcome: Outcome = "answered", draft: str = "") -> str:
    history = (Turn("user", "I have a lamp."), Turn("assistant", "Which one? [1]"))
    question = Question("How is it switched on?", traces.open_conversation("v", "chat"), history, "chat")
    trace_id = traces.begin(question, {})
    attempts = (Attempt("rag", draft=Draft(draft)),) if draft else ()
    answer = Answer(SAID if outcome == "answered" else "I would rather not guess.", outcome)
    traces.finish(Trace(trace_id, question, Evidence(()), Route(()), attempts, answer, {}, 0.1, "2026-11-23T10:00:00"))
    return trace_id


def test_a_correction_waits_until_somebody_approves_it(traces: TraceStore, store: CorrectionStore) -> None:
    made = store.add(asked(traces), "Press the green button.", "ann", source="console", consent=True)
    assert (made.state, made.draft, made.question) == ("waiting", SAID, "How is it switched on?")
    assert made.distance == distance(SAID, "Press the green button.") == 0.25
    assert list(store.rows()) == []
    done = store.review(made.id, "approved", "ben")
    assert (done.state, done.reviewed_by, done.made_by, done.consent) == ("approved", "ben", "ann", True)
    (row,) = store.rows()
    example = example_of(row, row["id"], Unsaid(DECLINE))
    assert example.answer == "Press the green button."
    assert example.rejected == "Press the red button.", "marks of citations are no part of what is learned"
    assert [turn.text for turn in example.history] == ["I have a lamp.", "Which one?"]
    assert (example.approved_by, example.consent, example.conversation != "") == ("ben", True, True)
    store.review(made.id, "rejected", "ben")
    assert list(store.rows()) == []
    assert store.counts() == {"waiting": 0, "approved": 0, "rejected": 1}


def test_a_right_answer_is_approved_as_it_is(traces: TraceStore, store: CorrectionStore) -> None:
    made = store.add(asked(traces), None, "ann", source="console", consent=True, approve=True)
    assert (made.correction, made.distance, made.state) == (SAID, 0.0, "approved")
    (row,) = store.rows()
    assert row["rejected"] == "", "what was right was not rejected"


def test_what_was_held_back_is_the_draft_of_a_question_that_was_declined(
    traces: TraceStore, store: CorrectionStore
) -> None:
    assert store.add(asked(traces, "abstained", "Perhaps red."), "Green.", "ann", source="c").draft == "Perhaps red."
    bare = asked(traces, "abstained")
    assert store.add(bare, "Green.", "ann", source="c").distance == 1.0
    with pytest.raises(AssistantError, match="needs a text"):
        store.add(bare, None, "ann", source="c")


def test_a_second_thought_replaces_what_still_waits_and_the_latest_approved_counts(
    traces: TraceStore, store: CorrectionStore
) -> None:
    trace = asked(traces)
    store.add(trace, "Blue.", "ann", source="c", consent=True)
    first = store.add(trace, "Green.", "ann", source="c", consent=True)
    assert [one.correction for one in store.find("waiting")] == ["Green."]
    store.review(first.id, "approved", "ben")
    store.add(trace, "Yellow.", "ann", source="c", consent=True, approve=True)
    assert [row["answer"] for row in store.rows()] == ["Yellow."]
    assert [one.correction for one in store.find()] == ["Yellow.", "Green."]


def test_the_reviewer_may_say_that_the_asker_agreed(traces: TraceStore, store: CorrectionStore) -> None:
    made = store.add(asked(traces), "Green.", "ann", source="c")
    assert not store.review(made.id, "approved", "ben").consent
    assert store.review(made.id, "approved", "ben", consent=True).consent


def test_what_cannot_be_corrected_is_refused(traces: TraceStore, store: CorrectionStore) -> None:
    trace = asked(traces)
    for text, reason in (("  ", "needs a text"), ("x" * (CHARACTERS_MAX + 1), "at most")):
        with pytest.raises(AssistantError, match=reason):
            store.add(trace, text, "ann", source="c")
    for unknown in ("none", "", "x\x00"):
        with pytest.raises(AssistantError, match="no answered question"):
            store.add(unknown, "Green.", "ann", source="c")
    with pytest.raises(AssistantError, match="no correction"):
        store.review("none", "approved", "ben")
    open_question = traces.begin(Question("Still open?", traces.open_conversation("v", "chat")), {})
    with pytest.raises(AssistantError, match="no answered question"):
        store.add(open_question, "Green.", "ann", source="c")
