"""The desk: who has a conversation, what people write in it, and that nothing is said twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from assistant.bulletin import DESK, Bulletin, conversation_topic
from assistant.desk import Desk
from assistant.errors import AssistantError
from assistant.handing import kind_of, summary
from assistant.thread import history_of, thread_of
from assistant.traces import DRAFTING, TraceStore
from assistant.types import Answer, Attempt, Draft, Evidence, Question, Route, Trace
from knowledge.database import open_engine
from tests import postgres


@pytest.fixture
def engine(engine_of_each: Engine) -> Engine:
    return engine_of_each


@pytest.fixture
def bulletin(engine: Engine) -> Iterator[Bulletin]:
    bulletin = Bulletin(engine)
    yield bulletin
    bulletin.close()


@pytest.fixture
def traces(engine: Engine, bulletin: Bulletin) -> TraceStore:
    return TraceStore(engine, bulletin)


@pytest.fixture
def desk(traces: TraceStore, engine: Engine, bulletin: Bulletin) -> Desk:
    return Desk(engine, bulletin)


@pytest.fixture
def conversation(traces: TraceStore) -> str:
    return traces.open_conversation("visitor", "chat")


def answered(traces: TraceStore, conversation: str, text: str, answer: Answer, surface: str = "chat") -> Trace:
    question = Question(text, conversation, surface=surface)
    id = traces.begin(question, {})
    attempt = Attempt("rag", accepted=answer.outcome == "answered", draft=Draft(answer.text), confidence=0.4)
    trace = Trace(id, question, Evidence((text,)), Route(()), (attempt,), answer, {}, 0.1, "2026-01-01T00:00:00+00:00")
    traces.finish(trace)
    return trace


def test_one_agent_takes_a_conversation_and_no_other(desk: Desk, conversation: str) -> None:
    waiting = desk.hand_off(conversation, "low_confidence", "please call")
    got: list[str] = []

    def take(agent: str) -> None:
        try:
            got.append(str(desk.take(waiting.id, agent).agent))
        except AssistantError as error:
            assert "has it" in str(error)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [f"agent{n}" for n in range(8)]))
    assert len(got) == 1
    assert desk.find(waiting.id).agent == got[0]
    assert [said.role for said in desk.messages(conversation)] == ["system"]


def test_a_conversation_waits_once_however_often_a_person_is_asked_for(desk: Desk, conversation: str) -> None:
    first = desk.hand_off(conversation, "asked_for_person", "one")
    again = desk.hand_off(conversation, "failure", "two")
    assert (first.id, again.note, again.kind) == (again.id, "one\ntwo", "asked_for_person")
    assert desk.counts() == {"waiting": 1, "in_progress": 0, "resolved": 0}


def test_only_the_agent_who_has_it_writes_gives_back_and_resolves(desk: Desk, conversation: str) -> None:
    waiting = desk.hand_off(conversation, "asked_for_person")
    with pytest.raises(AssistantError, match="take the conversation over"):
        desk.say(conversation, "agent", "ann", "Hello")
    desk.take(waiting.id, "ann")
    with pytest.raises(AssistantError, match="ann has"):
        desk.say(conversation, "agent", "bob", "Hello")
    with pytest.raises(AssistantError, match="ann has"):
        desk.resolve(waiting.id, "bob")
    desk.say(conversation, "agent", "ann", "Hello")
    assert desk.assign(waiting.id, "bob", "ann").agent == "bob"
    assert desk.resolve(waiting.id, "bob").state == "resolved"
    assert desk.open_of(conversation) is None
    assert desk.hand_off(conversation, "failure").id != waiting.id, "a resolved one can wait anew"


def test_a_message_that_is_sent_twice_is_said_once(desk: Desk, conversation: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: desk.say(conversation, "visitor", "", "Hello?", once="k1"), range(8)))
    assert len({one.id for one in said}) == 1
    assert len(desk.messages(conversation)) == 1
    assert desk.say(conversation, "visitor", "", "Hello?", once="k2").id != said[0].id


def test_notes_are_never_among_what_a_visitor_sees(traces: TraceStore, desk: Desk, conversation: str) -> None:
    desk.say(conversation, "note", "ann", "a difficult one")
    assert desk.messages(conversation) == ()
    assert [entry.text for entry in thread_of(traces, desk, conversation, notes=True)] == ["a difficult one"]
    assert thread_of(traces, desk, conversation) == ()


@pytest.mark.parametrize("text", ["", "   ", "x" * 8001])
def test_a_message_without_a_text_or_with_too_much_is_refused(desk: Desk, conversation: str, text: str) -> None:
    with pytest.raises(AssistantError):
        desk.say(conversation, "visitor", "", text)


def test_nobody_writes_into_a_conversation_that_there_is_not(desk: Desk) -> None:
    with pytest.raises(AssistantError, match="no conversation"):
        desk.say("none", "visitor", "", "Hello")
    with pytest.raises(AssistantError, match="no conversation"):
        desk.hand_off("none", "failure")


def test_people_and_the_assistant_are_one_thread_in_order(traces: TraceStore, desk: Desk, conversation: str) -> None:
    desk.say(conversation, "visitor", "", "anybody?")
    answered(traces, conversation, "first?", Answer("one", "answered", "rag", 0.9))
    desk.take(desk.hand_off(conversation, "asked_for_person").id, "ann")
    desk.say(conversation, "agent", "ann", "it is me")
    answered(traces, conversation, "a draft for ann", Answer("secret draft", "answered", "rag", 0.9), DRAFTING)
    answered(traces, conversation, "second?", Answer("two", "answered", "rag", 0.9))
    said = [(entry.speaker, entry.text) for entry in thread_of(traces, desk, conversation) if entry.speaker != "system"]
    assert said == [
        ("visitor", "anybody?"), ("visitor", "first?"), ("assistant", "one"), ("agent", "it is me"),
        ("visitor", "second?"), ("assistant", "two"),
    ]  # fmt: skip
    assert [turn.role for turn in history_of(traces, desk, conversation)] == [
        "user", "user", "assistant", "assistant", "user", "assistant"
    ]  # fmt: skip


def test_an_answer_that_hands_off_and_the_hand_off_are_on_disk_together(
    traces: TraceStore, desk: Desk, conversation: str
) -> None:
    told: list[tuple[str, object]] = []
    desk.bulletin.listen(lambda event, about: told.append((event, about["kind"])))
    answered(traces, conversation, "I want to talk to a human", Answer("Passed on.", "handed_off"))
    answered(traces, conversation, "I want to talk to a human", Answer("Passed on.", "handed_off"))
    (waiting,) = desk.inbox("waiting")
    assert waiting.kind == "asked_for_person"
    assert told == [("handed_off", "asked_for_person")]


def test_the_reason_is_typed_by_what_became_of_the_last_answer(traces: TraceStore, conversation: str) -> None:
    abstained = answered(traces, conversation, "why?", Answer("No.", "abstained"))
    assert kind_of(abstained) == "nothing_known"
    assert kind_of(None) == "asked_for_person"
    kept_for_people = answered(traces, conversation, "refund?", Answer("Passed on.", "handed_off"))
    assert kind_of(kept_for_people) == "policy"
    assert "Asked: why?" in summary([abstained], "call me") and summary([abstained], "call me").startswith("Note: call")


def test_a_visitor_rates_an_agents_message_and_nothing_else(desk: Desk, conversation: str) -> None:
    desk.take(desk.hand_off(conversation, "asked_for_person").id, "ann")
    said = desk.say(conversation, "agent", "ann", "Done.")
    mine = desk.say(conversation, "visitor", "", "Thanks")
    desk.rate(conversation, said.id, 1)
    assert [one.rating for one in desk.messages(conversation) if one.id == said.id] == [1]
    for conversation_id, message in ((conversation, mine.id), ("other", said.id)):
        with pytest.raises(AssistantError):
            desk.rate(conversation_id, message, 1)


def test_presence_ends_where_nobody_is_heard_of(desk: Desk, conversation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.here("ann", conversation)
    desk.here("ann", "")
    assert [(one.agent, one.conversation_id) for one in desk.present()] == [("ann", "")]
    monkeypatch.setattr("assistant.desk.PRESENT_SECONDS", -1.0)
    assert desk.present() == ()


def test_whoever_waits_is_woken_by_what_is_said_and_by_nothing_else(desk: Desk, conversation: str) -> None:
    with desk.bulletin.subscribe(conversation_topic(conversation)) as mine, desk.bulletin.subscribe("other") as other:
        other.wait(0.5), mine.wait(0.5)  # where PostgreSQL is listened to, everybody looks once
        threading.Timer(0.05, desk.say, (conversation, "visitor", "", "Hello")).start()
        assert mine.wait(5)
        assert not other.wait(0.01)
        assert not mine.wait(0.01), "once for once"


def test_an_event_loop_is_woken_from_another_thread(desk: Desk, conversation: str) -> None:
    async def wait() -> tuple[bool, bool]:
        with desk.bulletin.subscribe(DESK) as subscription:
            await asyncio.to_thread(desk.hand_off, conversation, "failure")
            early = await subscription.changed(5)
            threading.Timer(0.05, desk.say, (conversation, "visitor", "", "Hello")).start()
            return early, await subscription.changed(5)

    assert asyncio.run(wait()) == (True, True)


def test_another_process_is_woken_through_postgresql(postgresql: postgres.Server) -> None:
    url = postgresql.make(postgres.TEMPLATE)
    one, other = open_engine(url), open_engine(url)
    here, there = Bulletin(one), Bulletin(other)
    try:
        with there.subscribe("topic") as subscription:
            assert subscription.wait(10), "once it listens everybody looks"
            for _ in range(2):
                here.publish("else", "topic")
                assert subscription.wait(5)
            postgresql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%%' AND pid <> pg_backend_pid()"
            )
            assert subscription.wait(20), "after a connection that broke everybody looks again"
            here.publish("topic")
            assert subscription.wait(5)
    finally:
        for bulletin, engine in ((here, one), (there, other)):
            bulletin.close()
            engine.dispose()
        postgresql.drop(url)
