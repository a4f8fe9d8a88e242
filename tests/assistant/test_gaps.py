"""Content gaps: what got no good answer is grouped and ranked; decisions stick."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from assistant.gaps import GapFinder, grouped
from assistant.traces import TraceStore
from knowledge.database import open_engine
from knowledge.embedding import make_embedder
from tests.assistant.test_fates import ask

CANCEL = "How do I cancel my subscription?"
CANCEL_TOO = "How do I cancel my subscription today?"
CHESS = "Who won the chess match in Reykjavik?"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def traces(engine: Engine) -> TraceStore:
    return TraceStore(engine)


@pytest.fixture
def finder(engine: Engine, traces: TraceStore, tmp_path: Path) -> GapFinder:
    return GapFinder(engine, make_embedder("hash", tmp_path))


def test_wordings_of_one_thing_are_one_gap_and_the_most_asked_comes_first(
    traces: TraceStore, finder: GapFinder
) -> None:
    for number, text in enumerate((CHESS, CANCEL, CANCEL_TOO, CANCEL)):
        ask(traces, f"c{number}", text, "abstained")
    ask(traces, "fine", "How is a lamp switched on?")
    gaps = finder.find()
    assert [(gap.title, len(gap.questions), gap.declined) for gap in gaps] == [(CANCEL, 3, 3), (CHESS, 1, 1)]


def test_hand_offs_and_thumbs_down_are_gaps_and_weigh(traces: TraceStore, finder: GapFinder) -> None:
    ask(traces, "a", CANCEL, "abstained")
    ask(traces, "b", CHESS)
    ask(traces, "b", "I want a person", "handed_off")
    traces.add_feedback(ask(traces, "c", "How is a lamp switched on?"), -1)
    gaps = finder.find()
    assert gaps[0].title == CHESS and gaps[0].handoffs == 1
    assert {gap.title for gap in gaps} == {CHESS, CANCEL, "How is a lamp switched on?"}, "a person is no gap"
    assert next(gap for gap in gaps if "lamp" in gap.title).disputed == 1


def test_what_was_ignored_stays_ignored_when_it_is_asked_again(traces: TraceStore, finder: GapFinder) -> None:
    ask(traces, "a", CHESS, "abstained")
    finder.decide(finder.find()[0], "ignored", "ann")
    ask(traces, "b", CHESS, "abstained")
    assert finder.find() == ()
    (gap,) = finder.find(ignored=True)
    assert gap.ignored and len(gap.questions) == 2
    finder.decide(gap, None, "ann")
    assert len(finder.find()[0].questions) == 2


def test_what_was_answered_comes_back_only_if_it_is_asked_in_vain_again(traces: TraceStore, finder: GapFinder) -> None:
    ask(traces, "a", CANCEL, "abstained")
    finder.decide(finder.find()[0], "answered", "ann")
    assert finder.find(ignored=True) == ()
    ask(traces, "b", CANCEL, "abstained")
    assert len(finder.find()[0].questions) == 1


def test_groups_hold_what_is_alike_and_nothing_else() -> None:
    basis = np.eye(4, dtype=np.float32)
    near = np.array([0.9, 0.1, 0, 0], dtype=np.float32)
    groups = grouped(np.array([basis[0], basis[1], near / np.linalg.norm(near), basis[1]]))
    assert [group.members for group in groups] == [[0, 2], [1, 3]]
