"""Drafts for agents: what they answer, what is said against them, and that nobody but agents sees what is internal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.build import Rungs, build
from assistant.drafting import agent_draft, question_of, to_answer, tried, unanswered
from assistant.inbox import inbox
from assistant.settings import Settings
from assistant.sources import SEE_INTERNAL, is_internal
from assistant.suggestions import pool
from assistant.thread import thread_of
from assistant.types import DRAFTING, Question, Trace
from knowledge.ingest import ingest
from tests.ui.browsing import ACCEPTS_RAG
from tests.ui.serving import write_pages

LAMP = "How is a lamp switched on?"
PERSON = "I want to talk to a human"
SECRET = "# Refunds\n\nAgents may refund a broken lamp up to forty pounds without asking.\n"
VISITORS = ("chat", "widget", "api", "openai", "mcp", "cli", "rest", "", "Copilot", "anything new")


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "calibration.json").write_text(json.dumps(ACCEPTS_RAG))
    secret = tmp_path / "handbook-internal"
    secret.mkdir()
    (secret / "refunds.md").write_text(SECRET)
    settings = Settings(
        home=home, model="scripted", embedder="hash", demo=False,
        internal_sources=["handbook-internal"], person_topics=["legal"],
    )  # fmt: skip
    built = build(settings)
    list(ingest(built.store, [write_pages(tmp_path / "pages"), secret]))
    yield built
    built.close()


def visit(rungs: Rungs, *texts: str) -> str:
    conversation = rungs.traces.open_conversation("visitor", "chat")
    for text in texts:
        rungs.assistant.ask(Question(text, conversation, surface="chat"))
    return conversation


def drafted(rungs: Rungs, conversation: str) -> Trace:
    handoff = rungs.desk.hand_off(conversation, "asked_for_person")
    asked = to_answer(thread_of(rungs.traces, rungs.desk, conversation))
    assert asked
    return rungs.assistant.ask(question_of(rungs.traces, rungs.desk, handoff, asked))


def test_a_draft_answers_what_was_asked_and_not_the_wish_for_a_person(rungs: Rungs) -> None:
    conversation = visit(rungs, LAMP, PERSON)
    trace = drafted(rungs, conversation)
    assert trace.question.text == LAMP and trace.question.surface == DRAFTING
    draft = agent_draft(trace)
    assert "red lever" in draft.text and draft.accepted and draft.level == "rag" and draft.citations
    assert "[1]" not in draft.text, "a visitor sees no sources of an agent's message"
    assert draft.warnings == ()


def test_a_draft_reads_what_was_said_before_and_nothing_after(rungs: Rungs) -> None:
    conversation = visit(rungs, "How is a kettle descaled?", LAMP, PERSON)
    assert [turn.text for turn in drafted(rungs, conversation).question.history][::2] == ["How is a kettle descaled?"]


def test_no_visitor_and_no_history_sees_a_draft(rungs: Rungs) -> None:
    conversation = visit(rungs, LAMP)
    drafted(rungs, conversation)
    assert len(rungs.traces.turns(conversation)) == 1
    assert len(thread_of(rungs.traces, rungs.desk, conversation)) == 2


@pytest.mark.parametrize("text", [PERSON, "a legal question about lamps"])
def test_a_draft_is_never_handed_off(rungs: Rungs, text: str) -> None:
    conversation = visit(rungs, text)
    handoff = rungs.desk.open_of(conversation)
    assert handoff, "asked by a visitor it is"
    rungs.desk.resolve(handoff.id, "ann")
    asked = thread_of(rungs.traces, rungs.desk, conversation)[0]
    trace = rungs.assistant.ask(question_of(rungs.traces, rungs.desk, handoff, asked))
    assert trace.answer.outcome != "handed_off"
    assert rungs.desk.open_of(conversation) is None


def test_what_was_not_sure_enough_is_shown_and_said(rungs: Rungs) -> None:
    trace = drafted(rungs, visit(rungs, LAMP))
    rag = next(attempt for attempt in trace.attempts if attempt.level == "rag")
    doubtful = replace(rag, accepted=False, confidence=0.31, threshold=0.6)
    held_back = replace(trace, attempts=(doubtful,), answer=replace(trace.answer, outcome="abstained", level=None))
    draft = agent_draft(held_back)
    assert "red lever" in draft.text and not draft.accepted
    assert draft.warnings == ("Not sure enough: held back at 31% (60% is needed).",)


def test_a_draft_without_a_source_and_no_draft_at_all_say_so(rungs: Rungs) -> None:
    trace = drafted(rungs, visit(rungs, LAMP))
    rag = next(attempt for attempt in trace.attempts if attempt.level == "rag")
    assert rag.draft
    bare = replace(trace, attempts=(replace(rag, draft=replace(rag.draft, citations=())),))
    assert "No source" in agent_draft(bare).warnings[0]
    nothing = replace(trace, attempts=(), answer=replace(trace.answer, outcome="abstained", citations=()))
    assert agent_draft(nothing).text == "" and "No draft" in agent_draft(nothing).warnings[0]


def test_a_level_that_was_chosen_and_cannot_be_tried_says_why(rungs: Rungs) -> None:
    conversation = visit(rungs, LAMP)
    handoff = rungs.desk.hand_off(conversation, "asked_for_person")
    asked = thread_of(rungs.traces, rungs.desk, conversation)[0]
    draft = agent_draft(rungs.assistant.ask(question_of(rungs.traces, rungs.desk, handoff, asked, "lora")))
    assert any("no adapter promoted" in warning for warning in draft.warnings)


def test_an_internal_source_is_named_in_a_draft(rungs: Rungs) -> None:
    conversation = visit(rungs, "How much may agents refund for a broken lamp?")
    draft = agent_draft(drafted(rungs, conversation), rungs.settings.internal_sources)
    assert "forty pounds" in draft.text
    assert any("internal: Refunds" in warning for warning in draft.warnings)


@pytest.mark.parametrize("surface", VISITORS)
def test_no_visitors_surface_finds_what_is_internal(rungs: Rungs, surface: str) -> None:
    conversation = rungs.traces.open_conversation("visitor", surface)
    question = Question("How much may agents refund for a broken lamp?", conversation, surface=surface, level="rag")
    trace = rungs.assistant.ask(question)
    assert trace.evidence.hits, "other passages are found"
    assert not any(is_internal(hit.passage.source, ["handbook-internal"]) for hit in trace.evidence.hits)
    assert "forty" not in json.dumps([trace.answer.text, *(c.passage for c in trace.answer.citations)])


def test_agents_surfaces_find_it_and_suggestions_do_not_name_it(rungs: Rungs) -> None:
    for surface in SEE_INTERNAL:
        conversation = rungs.traces.open_conversation("agent", surface)
        question = Question("How much may agents refund for a broken lamp?", conversation, surface=surface)
        found = rungs.assistant.find(question).hits
        assert any(hit.passage.document == "refunds.md" for hit in found)
    internal = rungs.settings.internal_sources
    assert any("efunds" in text for text in pool(rungs.store))
    assert not any(
        "efunds" in text for text in pool(rungs.store, keep=lambda source: not is_internal(source, internal))
    )


def test_a_large_internal_source_crowds_nobody_out(rungs: Rungs, tmp_path: Path) -> None:
    folder = tmp_path / "handbook-internal"
    for number in range(60):
        (folder / f"lamp{number}.md").write_text(f"# Lamps {number}\n\nA lamp is switched on, says note {number}.\n")
    list(ingest(rungs.store, [folder]))
    trace = rungs.assistant.ask(Question(LAMP, rungs.traces.open_conversation("v", "chat"), surface="chat"))
    assert any("red lever" in hit.passage.text for hit in trace.evidence.hits)


def test_only_a_message_that_nobody_answered_waits_for_a_draft(rungs: Rungs) -> None:
    conversation = visit(rungs, LAMP)
    entries = thread_of(rungs.traces, rungs.desk, conversation)
    assert unanswered(entries) is None, "the assistant answered it"
    for value, waits in ((-1, True), (1, False)):
        rungs.traces.add_feedback(entries[0].id, value)  # type: ignore[arg-type]
        assert (unanswered(thread_of(rungs.traces, rungs.desk, conversation)) is not None) == waits
    handoff = rungs.desk.take(rungs.desk.hand_off(conversation, "asked_for_person").id, "ann")
    rungs.desk.say(conversation, "visitor", "", "It does not light up.")
    waiting = unanswered(thread_of(rungs.traces, rungs.desk, conversation))
    assert waiting and waiting.text == "It does not light up."
    rungs.desk.say(conversation, "agent", "ann", "Is it plugged in?")
    rungs.desk.say(conversation, "note", "ann", "looks broken")
    assert unanswered(thread_of(rungs.traces, rungs.desk, conversation)) is None
    assert handoff.agent == "ann"


def test_the_summary_of_a_conversation_tells_what_was_tried(rungs: Rungs) -> None:
    conversation = visit(rungs, LAMP)
    handoff = rungs.desk.hand_off(conversation, "low_confidence", "please call me")
    told = tried(rungs.traces, handoff)
    assert "please call me" in told and LAMP in told and "rag: accepted" in told


def test_an_inbox_is_sorted_by_who_waits_longest_and_says_who_looks(rungs: Rungs) -> None:
    desk = rungs.desk
    first, second, third = (visit(rungs, f"{LAMP} {n}") for n in range(3))
    for conversation in (second, first, third):
        desk.hand_off(conversation, "asked_for_person", f"note of {conversation}")
    handoffs = {h.conversation_id: h for h in desk.inbox()}
    desk.here("bob", first)
    desk.here("ann", second)
    found = inbox(desk, rungs.traces, "ann", "waiting")
    assert [row.handoff.conversation_id for row in found.rows] == [second, first, third]
    assert [row.present for row in found.rows] == [(), ("bob",), ()]
    desk.take(handoffs[first].id, "ann")
    desk.take(handoffs[third].id, "ann")
    desk.say(first, "agent", "ann", "hello")
    mine = inbox(desk, rungs.traces, "ann", "mine")
    assert [row.handoff.conversation_id for row in mine.rows] == [third, first]
    assert [bool(row.waits_since) for row in mine.rows] == [True, False]
    assert dict(mine.counts) == {"waiting": 1, "mine": 2, "others": 0, "resolved": 0}
    assert inbox(desk, rungs.traces, "bob", "others").counts["others"] == 2
    for text in (f"note of {second}", f"{LAMP} 1"):
        assert [r.handoff.conversation_id for r in inbox(desk, rungs.traces, "ann", "waiting", text).rows] == [second]
    assert not inbox(desk, rungs.traces, "ann", "waiting", "no such word").rows
