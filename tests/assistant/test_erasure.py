"""Erasure: nothing is left in any file of the database, nobody else's words go with it, and old ones go by age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from assistant import erasure
from assistant.bulletin import Bulletin
from assistant.corrections import CorrectionStore
from assistant.desk import Desk
from assistant.erasure import AgeKeeper, erase_conversation, erase_older, erase_visitor, erased_since, tombstones
from assistant.errors import AssistantError
from assistant.tables import METADATA, conversations
from assistant.traces import TraceStore
from assistant.types import Answer, Evidence, Question, Route, Trace
from knowledge.database import open_engine, reading, writing

SECRET = "my card is Zanzibar-4711"
ANN, BEN = "a" * 32, "b" * 32


@dataclass(frozen=True)
class Home:
    engine: Engine
    traces: TraceStore
    desk: Desk
    file: Path

    def asked(self, visitor: str, text: str) -> str:
        """A conversation with everything that can hang on one."""
        conversation = self.traces.open_conversation(visitor, "chat")
        question = Question(text, conversation, (), "chat")
        id = self.traces.begin(question, {})
        answer = Answer(f"You said: {text}", "answered", "rag", 0.9)
        trace = Trace(id, question, Evidence((text,)), Route(()), (), answer, {}, 0.1, "2026-01-01")
        self.traces.finish(trace)
        self.traces.add_feedback(id, -1, f"thumb: {text}")
        self.desk.hand_off(conversation, "asked_for_person", f"note: {text}")
        self.desk.say(conversation, "visitor", "", f"message: {text}")
        self.desk.say(conversation, "note", "eva", f"agent's note: {text}")
        CorrectionStore(self.engine).add(id, f"better: {text}", "eva", source="console", consent=True, approve=True)
        return conversation

    def bytes(self) -> bytes:
        """Everything that the database keeps on disk."""
        return b"".join(path.read_bytes() for path in self.file.parent.glob("rungs.db*"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    yield Home(engine, TraceStore(engine), Desk(engine, Bulletin()), tmp_path / "rungs.db")
    engine.dispose()


def test_after_erasure_the_words_are_in_no_file_of_the_database(home: Home) -> None:
    for number in range(30):
        home.asked(BEN, f"what is number {number}?")
        home.asked(ANN, f"{SECRET} {number}")
    assert SECRET.encode() in home.bytes()
    erased = erase_visitor(home.engine, ANN)
    assert (erased.conversations, erased.corrections, erased.wiped) == (30, 30, True)
    assert erased_since(home.engine, "2026-01-01") == 30 and erased_since(home.engine, "2999-01-01") == 0
    assert SECRET.encode() not in home.bytes() and ANN.encode() not in home.bytes()


def test_nobody_elses_conversation_goes_with_it(home: Home) -> None:
    kept = home.asked(BEN, "what is a lamp?")
    home.asked(ANN, SECRET)
    erase_visitor(home.engine, ANN)
    assert [turn.question for turn in home.traces.turns(kept)] == ["what is a lamp?"]
    assert len(home.desk.messages(kept, notes=True)) == 2


def test_every_table_that_holds_words_is_emptied(engine_of_each: Engine, tmp_path: Path) -> None:
    home = Home(engine_of_each, TraceStore(engine_of_each), Desk(engine_of_each, Bulletin()), tmp_path / "rungs.db")
    assert erase_conversation(home.engine, home.asked(ANN, SECRET)).wiped
    with reading(home.engine) as connection:
        left = {
            table.name: connection.scalar(select(func.count()).select_from(table)) for table in METADATA.sorted_tables
        }
    assert {name for name, count in left.items() if count} == {"erasures"}


def test_a_tombstone_says_that_and_when_but_not_who_or_what(home: Home) -> None:
    home.asked(ANN, SECRET)
    erase_visitor(home.engine, ANN)
    (stone,) = tombstones(home.engine)
    assert (stone.kind, stone.conversations) == ("visitor", 1)
    assert ANN not in repr(stone) and SECRET not in repr(stone)


def test_a_visitor_who_wrote_nothing_leaves_no_tombstone(home: Home) -> None:
    assert erase_visitor(home.engine, ANN).conversations == 0
    assert tombstones(home.engine) == ()
    with pytest.raises(AssistantError, match="no conversation"):
        erase_conversation(home.engine, "nothing")
    with pytest.raises(AssistantError, match="whose"):
        erase_visitor(home.engine, "")


def _age(home: Home, conversation: str, days: int) -> None:
    then = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    with writing(home.engine) as connection:
        connection.execute(update(conversations).where(conversations.c.id == conversation).values(updated_at=then))


def test_only_what_is_older_goes_by_age_and_never_what_a_person_has(home: Home) -> None:
    old, young, waiting = (home.asked(ANN, text) for text in (SECRET, "young", "waiting"))
    for conversation in (old, young):
        handoff = home.desk.open_of(conversation)
        assert handoff is not None
        home.desk.take(handoff.id, "eva")
        home.desk.resolve(handoff.id, "eva")
    _age(home, old, 40)
    _age(home, waiting, 40)
    _age(home, young, 20)
    assert erase_older(home.engine, 30, dry_run=True).conversations == 1
    assert SECRET.encode() in home.bytes()
    assert erase_older(home.engine, 30).conversations == 1
    assert {one.id for one in home.traces.conversations(ANN)} == {young, waiting}
    assert SECRET.encode() not in home.bytes()
    with pytest.raises(AssistantError, match="at least 1"):
        erase_older(home.engine, 0)


def test_the_keeper_of_ages_erases_at_its_start_and_keeps_all_for_zero_days(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = home.asked(ANN, SECRET)
    handoff = home.desk.open_of(conversation)
    assert handoff is not None
    home.desk.resolve(handoff.id, "eva")
    _age(home, conversation, 3)
    AgeKeeper(home.engine, 0).close()
    assert home.traces.conversations(ANN)
    monkeypatch.setattr(erasure, "DAY_SECONDS", 0.01)
    keeper = AgeKeeper(home.engine, 1)
    keeper.close()
    assert not home.traces.conversations(ANN)
