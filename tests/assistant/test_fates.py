"""What became of questions: every one has exactly one fate, and the figures add up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine

from assistant.bulletin import Bulletin
from assistant.desk import Desk
from assistant.fates import FATES, Asked, asked
from assistant.overview import Price, overview, percentile
from assistant.traces import TraceStore
from assistant.types import Answer, Attempt, Draft, Evidence, Outcome, Question, Route, Trace
from knowledge.database import open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def traces(engine: Engine) -> TraceStore:
    return TraceStore(engine)


def ask(traces: TraceStore, conversation: str, text: str, outcome: Outcome = "answered", seconds: float = 1.0) -> str:
    question = Question(text, conversation, surface="chat")
    id = traces.begin(question, {})
    level = "rag" if outcome == "answered" else None
    attempt = Attempt("rag", accepted=level is not None, draft=Draft("said", tokens_in=100, tokens_out=10))
    answer = Answer("said", outcome, level)
    traces.finish(Trace(id, question, Evidence((text,)), Route(()), (attempt,), answer, {}, seconds, "2026-01-01"))
    return id


def fates(engine: Engine) -> dict[str, str]:
    return {one.text: one.fate for one in asked(engine)}


def test_every_way_to_end_is_told_apart(engine: Engine, traces: TraceStore) -> None:
    for name in ("liked", "silent", "disliked"):
        id = ask(traces, name, name)
        if name != "silent":
            traces.add_feedback(id, 1 if name == "liked" else -1)
    ask(traces, "unknown", "unknown", "abstained")
    traces.interrupted(traces.begin(Question("cut", "cut"), {}), "the asker left")
    traces.begin(Question("being answered", "open"), {})
    again = ask(traces, "retried", "retried")
    traces.supersede("retried", again)
    assert fates(engine) == {
        "liked": "confirmed",
        "silent": "assumed",
        "disliked": "disputed",
        "unknown": "declined",
        "cut": "interrupted",
        "retried": "asked_again",
    }


def test_a_hand_off_belongs_to_the_question_before_it(engine: Engine, traces: TraceStore) -> None:
    ask(traces, "c", "first")
    ask(traces, "c", "second")
    Desk(engine, Bulletin()).hand_off("c", "low_confidence")
    ask(traces, "c", "third")
    ask(traces, "d", "alone")
    assert fates(engine) == {"first": "assumed", "second": "handed_off", "third": "assumed", "alone": "assumed"}


def test_asking_for_a_person_says_that_the_answer_before_did_not_help(engine: Engine, traces: TraceStore) -> None:
    ask(traces, "c", "how?")
    ask(traces, "c", "I want a person", "handed_off")
    Desk(engine, Bulletin()).hand_off("c", "asked_for_person")
    rows = {one.text: one for one in asked(engine)}
    assert rows["how?"].fate == rows["I want a person"].fate == "handed_off"
    assert rows["how?"].handoffs == 1 and rows["I want a person"].wants_person
    assert not rows["how?"].wants_person


def test_the_latest_thumb_counts(engine: Engine, traces: TraceStore) -> None:
    id = ask(traces, "c", "how?")
    traces.add_feedback(id, -1)
    traces.add_feedback(id, 1)
    assert fates(engine) == {"how?": "confirmed"}


def test_figures_of_a_period_add_up(engine: Engine, traces: TraceStore) -> None:
    for seconds in (1.0, 2.0, 3.0, 40.0):
        ask(traces, f"c{seconds}", "how?", seconds=seconds)
    ask(traces, "d", "unknown", "abstained", 5.0)
    found = overview(asked(engine), datetime.now(UTC), timedelta(days=7))
    assert (found.questions, found.resolved, found.fates["declined"]) == (5, 4, 1)
    rag = next(level for level in found.levels if level.level == "rag")
    assert (rag.questions, rag.seconds_p50, rag.seconds_p95) == (4, 2.0, 40.0)
    assert found.tokens == (500, 50)
    assert Price(2.0, 4.0).of(*found.tokens) == pytest.approx(0.0012)
    assert sum(sum(bucket.fates.values()) for bucket in found.buckets) == 5


@pytest.mark.parametrize("days", [0.5, 1, 7, 30, 400, 4000])
def test_columns_over_time_have_no_gap_and_are_few(days: float) -> None:
    now = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    rows = [row_at(now - timedelta(days=days)), row_at(now), row_at(now + timedelta(days=1))]
    found = overview(rows, now, None)
    starts = [bucket.starts for bucket in found.buckets]
    assert len(starts) <= 50
    assert all(later - earlier == found.length for earlier, later in pairwise(starts))
    assert sum(sum(bucket.fates.values()) for bucket in found.buckets) == 3, "a clock set back loses no question"


def test_nothing_has_no_percentile_and_one_is_its_own() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([1, 2, 3, 4], 0.5) == 2


def test_an_empty_period_is_empty(engine: Engine, traces: TraceStore) -> None:
    found = overview(asked(engine), datetime.now(UTC), timedelta(days=1))
    assert found.questions == found.resolved == 0 and set(found.fates) <= set(FATES)


def row_at(at: datetime) -> Asked:
    return Asked("i", "c", "t", "chat", "rag", "assumed", 0, 0, False, at.isoformat(), 1.0, 1, 1)
