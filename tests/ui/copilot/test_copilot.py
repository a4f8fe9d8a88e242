"""The agents' page without a browser: who may write, what is stored, and that nobody's words are markup."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assistant.build import Rungs, build
from assistant.desk import HandOff
from assistant.drafting import AgentDraft
from assistant.settings import Settings
from assistant.thread import thread_of
from assistant.types import DRAFTING, Question
from knowledge.ingest import ingest
from tests.ui.browsing import ACCEPTS_RAG
from tests.ui.serving import write_pages
from ui.copilot.acts import SHOWN, Acts
from ui.copilot.writing import Writing
from ui.present import desk as present_desk

LAMP = "How is a lamp switched on?"
PERSON = "I want to talk to a human"
HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) ${7*7} {{7*7}} <script>alert(1)</script>"


def page(name: str, session: str = "") -> Any:
    """A request of an agent's page."""
    who = SimpleNamespace(name=name)
    return SimpleNamespace(session_hash=session or name, request=SimpleNamespace(scope={"rungs.who": who}))


ANN, BOB = page("ann"), page("bob")


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "calibration.json").write_text(json.dumps(ACCEPTS_RAG))
    secret = tmp_path / "handbook-internal"
    secret.mkdir()
    (secret / "refunds.md").write_text("# Refunds\n\nAgents may refund a broken lamp up to forty pounds.\n")
    settings = Settings(
        home=home, model="scripted", embedder="hash", demo=False, internal_sources=["handbook-internal"]
    )
    built = build(settings)
    list(ingest(built.store, [write_pages(tmp_path / "pages"), secret]))
    yield built
    built.close()


@pytest.fixture
def acts(rungs: Rungs) -> Acts:
    return Acts(rungs)


@pytest.fixture
def writing(rungs: Rungs) -> Writing:
    return Writing(rungs, threading.Semaphore(1))


@pytest.fixture
def waiting(rungs: Rungs) -> HandOff:
    conversation = rungs.traces.open_conversation("visitor", "chat")
    for text in (LAMP, PERSON):
        rungs.assistant.ask(Question(text, conversation, surface="chat"))
    (handoff,) = rungs.desk.inbox("waiting")
    return handoff


def drafted(writing: Writing, handoff: HandOff, level: str = "auto", request: Any = ANN) -> AgentDraft:
    *_, (draft, _, _) = writing.draft(handoff.id, level, request)
    assert isinstance(draft, AgentDraft)
    return draft


def look(acts: Acts, handoff: HandOff, request: Any = ANN) -> dict[str, Any]:
    *shown, _ = acts.look("waiting", "", handoff.id, {}, request)
    return dict(zip(SHOWN, shown, strict=True))


def seen(update: Any) -> bool:
    return bool(update["visible"])


def test_what_was_changed_in_a_draft_is_stored_with_its_distance(
    acts: Acts, writing: Writing, waiting: HandOff, rungs: Rungs
) -> None:
    acts.take(waiting.id, ANN)
    draft = drafted(writing, waiting)
    text, used, *_ = acts.use(draft, "", ())
    assert "red lever" in text and "[1]" not in text
    sent = acts.send(waiting.id, f"{text} Tell me if it stays dark.", "key", used, (), ANN)
    (said,) = (m for m in rungs.desk.messages(waiting.conversation_id) if m.role == "agent")
    (kept,) = rungs.corrections.find()
    assert (said.draft, kept.trace_id, kept.source, kept.made_by) == (used, used, "copilot", "ann")
    assert 0 < kept.distance < 1 and f"{kept.distance:.0%}" in sent[-1] and sent[0] == ""


def test_a_message_written_without_a_draft_is_no_correction(acts: Acts, waiting: HandOff, rungs: Rungs) -> None:
    acts.take(waiting.id, ANN)
    acts.send(waiting.id, "In my own words.", "key", "", (), ANN)
    assert rungs.corrections.find() == ()


def test_a_draft_of_another_conversation_and_a_visitors_answer_are_no_draft(
    acts: Acts, waiting: HandOff, rungs: Rungs
) -> None:
    acts.take(waiting.id, ANN)
    other = rungs.traces.open_conversation("other", "chat")
    foreign = rungs.assistant.ask(Question(LAMP, other, surface=DRAFTING)).id
    answered = rungs.traces.turns(waiting.conversation_id)[0].trace_id
    for number, trace in enumerate((foreign, answered)):
        acts.send(waiting.id, "words", f"key{number}", trace, (), ANN)
    assert rungs.corrections.find() == ()
    assert all(m.draft is None for m in rungs.desk.messages(waiting.conversation_id))


def test_two_clicks_send_once(acts: Acts, writing: Writing, waiting: HandOff, rungs: Rungs) -> None:
    acts.take(waiting.id, ANN)
    used = drafted(writing, waiting).trace_id
    for _ in range(2):
        acts.send(waiting.id, "The same words.", "one key", used, (), ANN)
    assert len([m for m in rungs.desk.messages(waiting.conversation_id) if m.role == "agent"]) == 1
    assert len(rungs.corrections.find()) == 1


def test_of_two_agents_one_writes_and_the_other_is_told_who(acts: Acts, waiting: HandOff, rungs: Rungs) -> None:
    assert "You have" in acts.take(waiting.id, ANN)
    assert "ann has it" in acts.take(waiting.id, BOB)
    *stay, told = acts.send(waiting.id, "from bob", "key", "", (), BOB)
    assert "ann has this conversation" in told and "from bob" not in str(stay)
    for act in (acts.resolve, acts.give_back):
        assert "ann has this conversation" in act(waiting.id, BOB)
    page_of_bob = look(acts, waiting, BOB)
    assert "ann has it" in page_of_bob["head"] and not seen(page_of_bob["write"]) and not seen(page_of_bob["resolve"])
    assert "bob also here" in look(acts, waiting, ANN)["head"]
    acts.assign(waiting.id, "bob", ANN)
    assert seen(look(acts, waiting, BOB)["write"]) and not seen(look(acts, waiting, ANN)["write"])
    assert not [m for m in rungs.desk.messages(waiting.conversation_id) if m.role == "agent"]


def test_a_conversation_is_resolved_and_opened_again(acts: Acts, waiting: HandOff, rungs: Rungs) -> None:
    acts.take(waiting.id, ANN)
    acts.resolve(waiting.id, ANN)
    assert seen(look(acts, waiting)["reopen"]) and not seen(look(acts, waiting)["write"])
    fresh, told = acts.reopen(waiting.id, BOB)
    assert fresh != waiting.id and "Open again" in told and rungs.desk.find(fresh).agent == "bob"


def test_what_did_not_change_is_left_alone(acts: Acts, waiting: HandOff) -> None:
    *_, shown = acts.look("waiting", "", waiting.id, {}, ANN)
    *again, _ = acts.look("waiting", "", waiting.id, shown, ANN)
    told = dict(zip(SHOWN, again, strict=True))
    assert not any(isinstance(told[name], str) for name in ("rows", "head", "thread", "summary"))
    acts.note(waiting.id, "careful", ANN)
    assert "careful" in dict(zip(SHOWN, acts.look("waiting", "", waiting.id, shown, ANN), strict=False))["thread"]


def test_words_that_were_not_sent_stay_with_their_conversation(acts: Acts) -> None:
    first = acts.open("one#1", "", {}, "", "", ())
    second = acts.open("two#2", "one", first[1], "half a sentence", "draft-of-one", ("before",))
    assert second[0] == "two" and second[2] == "" and second[3] == "" and second[4] == ()
    back = acts.open("one#3", "two", second[1], "", "", ())
    assert (back[2], back[3], back[4]) == ("half a sentence", "draft-of-one", ("before",))


def test_no_visitor_reads_a_note(acts: Acts, waiting: HandOff, rungs: Rungs) -> None:
    acts.note(waiting.id, "this one is difficult", ANN)
    assert "difficult" in look(acts, waiting)["thread"]
    assert not any("difficult" in e.text for e in thread_of(rungs.traces, rungs.desk, waiting.conversation_id))


def test_a_draft_comes_once_for_each_message_that_nobody_answered(
    acts: Acts, writing: Writing, waiting: HandOff, rungs: Rungs
) -> None:
    def news(before: str) -> tuple[Any, ...]:
        *_, last = writing.draft_if_new(waiting.id, "auto", before, ANN)
        return last

    first = news("")
    assert isinstance(first[0], AgentDraft)
    assert not isinstance(news(first[2])[0], AgentDraft)
    acts.take(waiting.id, ANN)
    rungs.desk.say(waiting.conversation_id, "visitor", "", "How is a kettle descaled?")
    second = news(first[2])
    assert "citric acid" in second[0].text and second[2] != first[2]
    acts.send(waiting.id, "With citric acid.", "key", "", (), ANN)
    assert not isinstance(news("")[0], AgentDraft)
    acts.resolve(waiting.id, ANN)
    assert not isinstance(news("")[0], AgentDraft)


def test_an_agent_who_moves_on_stops_the_draft_and_frees_its_place(writing: Writing, waiting: HandOff) -> None:
    writing.places.acquire()
    waits = writing.draft(waiting.id, "auto", ANN)
    assert "Waiting for a place" in next(waits)[1]
    writing.stop(ANN)
    assert not isinstance(list(waits)[-1][0], AgentDraft), "nothing is shown of what was stopped"
    writing.places.release()
    assert drafted(writing, waiting).text
    assert writing.running == {} and writing.places.acquire(blocking=False)


def test_a_level_can_be_chosen(writing: Writing, waiting: HandOff) -> None:
    assert drafted(writing, waiting, "prompting").text.startswith("You said")
    assert any("no adapter" in warning for warning in drafted(writing, waiting, "lora").warnings)


def test_tone_is_changed_and_undone(acts: Acts, writing: Writing) -> None:
    text = "Turn the brass ring in Ghent."
    *growing, (changed, warning, undo, _) = writing.changed(text, "formal", (), ANN)
    assert changed == f"You said: {text}" and warning == "" and undo == (text,) and len(growing) > 3
    assert acts.undone(("first", *undo))[:2] == (text, ("first",))
    *_, (kept, warning, undo, _) = writing.changed(text, "shorter", (), ANN)
    assert kept == text and "no shorter" in warning and undo == ()
    assert "Write something first" in list(writing.changed(" ", "formal", (), ANN))[-1][1]


def test_a_summary_that_is_none_is_told_as_it_happened(writing: Writing, waiting: HandOff) -> None:
    *_, told = writing.summarised(waiting.id, ANN)
    assert "As it happened" in told and "Tried rag" in told


def test_a_bad_answer_is_reported_in_one_click(acts: Acts, waiting: HandOff, rungs: Rungs) -> None:
    trace = rungs.traces.turns(waiting.conversation_id)[0].trace_id
    assert f'data-report="{trace}:unsafe"' in look(acts, waiting)["thread"]
    assert "Reported as unsafe" in acts.report(f"{trace}:unsafe#1", waiting.id, ANN)
    (kept,) = rungs.traces.feedback(trace)
    assert (kept.value, kept.reason) == (-1, "agent: unsafe")
    assert "Reported by an agent: unsafe" in look(acts, waiting)["thread"]
    other = rungs.assistant.ask(Question(LAMP, rungs.traces.open_conversation("x", "chat"), surface="chat")).id
    for wrong in (f"{other}:wrong#2", f"{trace}:rubbish#3", "nonsense"):
        assert "problem" in acts.report(wrong, waiting.id, ANN)
    assert rungs.traces.feedback(other) == ()


def test_knowledge_is_found_quoted_and_marked_where_it_is_internal(acts: Acts, rungs: Rungs) -> None:
    found = acts.search("refund a broken lamp")
    assert "internal" in found and "data-quote" in found
    (secret,) = rungs.store.passages(document="refunds.md")
    text, warning = acts.quote(f"{secret.id}#1", "Hello.")
    assert text.startswith("Hello.\n\n") and "forty pounds" in text and "internal" in warning
    assert "no longer known" in acts.quote("nothing#2", "")[1]


def test_an_answer_becomes_knowledge(acts: Acts, writing: Writing, waiting: HandOff, rungs: Rungs) -> None:
    acts.take(waiting.id, ANN)
    acts.send(waiting.id, "Pull the silver handle twice.", "key", "", (), ANN)
    question, answer = acts.pair(waiting.id, "")
    assert (question, answer) == (LAMP, "Pull the silver handle twice.")
    assert "Kept" in acts.keep_pair(question, answer, ANN)
    assert "silver handle" in rungs.store.retrieve([LAMP], 1)[0].passage.text
    assert "problem" in acts.keep_pair("", answer, ANN)


def test_hostile_words_are_only_words(acts: Acts, writing: Writing, rungs: Rungs) -> None:
    conversation = rungs.traces.open_conversation("visitor", "chat", site=HOSTILE)
    rungs.assistant.ask(Question(HOSTILE, conversation, surface="chat"))
    handoff = rungs.desk.hand_off(conversation, "asked_for_person", HOSTILE)
    acts.note(handoff.id, HOSTILE, ANN)
    acts.take(handoff.id, ANN)
    acts.send(handoff.id, HOSTILE, "key", "", (), ANN)
    *_, (draft, html, _) = writing.draft(handoff.id, "prompting", ANN)
    shown = look(acts, handoff)
    rows = present_desk.inbox_html((), "mine", "", True) + acts.look("mine", HOSTILE[:8], handoff.id, {}, ANN)[1]
    for part in (rows, shown["head"], shown["thread"], shown["summary"], html, acts.search(HOSTILE)):
        assert "<img" not in part and "<script" not in part and "<a " not in part
        assert "![" not in part
    assert HOSTILE in draft.text


@pytest.mark.engine
def test_the_embedded_model_drafts_with_sources(tmp_path: Path, weights: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    for path in weights.parent.glob(f"{weights.name}*"):
        (home / "models" / path.name).symlink_to(path)
    built = build(Settings(home=home, demo=False))
    try:
        list(ingest(built.store, [write_pages(tmp_path / "pages")]))
        conversation = built.traces.open_conversation("visitor", "chat")
        built.desk.hand_off(conversation, "asked_for_person")
        built.desk.say(conversation, "visitor", "", "How often should a kettle be descaled?")
        (handoff,) = built.desk.inbox()
        draft = drafted(Writing(built, threading.Semaphore(1)), handoff)
        assert "every spring" in draft.text and draft.level and draft.confidence is not None
        assert any(citation.document == "kettles.md" for citation in draft.citations)
    finally:
        built.close()
