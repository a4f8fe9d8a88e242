"""The chat page's handlers: a visitor reaches their own conversations only, and what was withdrawn is not shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from assistant.build import Rungs, build
from assistant.errors import ModelUnavailable
from assistant.settings import Settings
from assistant.types import Climbing, Event, Question, Words
from knowledge.ingest import ingest
from tests.ui.serving import write_pages
from ui.access.budgets import Budgets
from ui.chat.page import UNEXPECTED, ChatPage, build_chat, messages

MINE, THEIRS = "a" * 32, "b" * 32
REQUEST: Any = SimpleNamespace(session_hash="session")
LAMP = "How is a lamp switched on?"


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash", demo=False))
    list(ingest(built.store, [write_pages(tmp_path / "pages")]))
    yield built
    built.close()


@pytest.fixture
def page(rungs: Rungs) -> ChatPage:
    return ChatPage(rungs, Budgets(rungs.engine, {}))


def asked(page: ChatPage, text: str, visitor: str, conversation: str | None = None) -> tuple[Any, ...]:
    return list(page.ask(text, visitor, conversation, (), REQUEST))[-1]


class Says:
    """An assistant that yields what it was told to."""

    def __init__(self, *events: Event | Exception) -> None:
        self.events = events

    def stream(self, question: Question, cancel: Any = None) -> Iterator[Event]:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event


def saying(page: ChatPage, *events: Event | Exception) -> ChatPage:
    assistant: Any = Says(*events)
    return replace(page, rungs=replace(page.rungs, assistant=assistant))


def test_a_question_cannot_enter_another_visitors_conversation(page: ChatPage, rungs: Rungs) -> None:
    theirs = asked(page, LAMP, THEIRS)[0]
    mine, turns, *_ = asked(page, "Is a kettle descaled?", MINE, theirs)
    assert mine != theirs and len(turns) == 1
    assert [turn.question for turn in rungs.traces.turns(theirs)] == [LAMP]
    stored = rungs.traces.load(turns[0].trace_id)
    assert stored.question.history == ()


def test_another_visitors_conversation_is_neither_shown_nor_handed_off_nor_retried(
    page: ChatPage, rungs: Rungs
) -> None:
    theirs, turns, *_ = asked(page, LAMP, THEIRS)
    conversation, shown, *_ = page.load(MINE, theirs)
    assert conversation is None and shown == ()
    passed_on, _ = page.contact("help", MINE, theirs, (), REQUEST)
    assert passed_on != theirs
    list(page.again(1, "", MINE, theirs, turns, REQUEST))
    assert [turn.question for turn in rungs.traces.turns(theirs)] == [LAMP]


def test_a_retry_replaces_the_turn_in_its_conversation(page: ChatPage, rungs: Rungs) -> None:
    conversation, turns, *_ = asked(page, LAMP, MINE)
    again = list(page.again(1, "", MINE, conversation, turns, REQUEST))[-1]
    assert again[0] == conversation and len(again[1]) == 1
    assert [turn.trace_id for turn in rungs.traces.turns(conversation)] == [again[1][0].trace_id]


def test_words_that_a_later_step_withdraws_are_not_shown(page: ChatPage) -> None:
    broken = saying(page, Climbing("rag", "trying"), Words("half an ans"), Climbing("rag", "failed", "gone"))
    shown = list(broken.ask(LAMP, MINE, None, (), REQUEST))
    assert "half an ans" not in str(shown[-1][2])


@pytest.mark.parametrize(
    ("error", "told"),
    [(ModelUnavailable("the engine is gone. Restart."), "engine is gone"), (ValueError("x"), UNEXPECTED)],
)
def test_a_failure_is_told_in_words(page: ChatPage, error: Exception, told: str) -> None:
    last = list(saying(page, Climbing("rag", "trying"), error).ask(LAMP, MINE, None, (), REQUEST))[-1]
    assert told in last[1][0].answer
    assert page.thumb(1, True, last[1]).startswith("That answer was not finished")


def test_updates_are_few_however_many_tokens_there_are(page: ChatPage) -> None:
    many = saying(page, Climbing("rag", "trying"), *(Words("word ") for _ in range(2000)))
    assert len(list(many.ask(LAMP, MINE, None, (), REQUEST))) < 30


def test_too_long_and_empty_questions_are_refused_in_words(page: ChatPage, rungs: Rungs) -> None:
    assert "Type a question" in asked(page, "  ", MINE)[4]
    told = asked(page, "x" * (rungs.settings.question_characters + 1), MINE)[1][0].answer
    assert "Shorten it" in told
    assert not rungs.traces.find()


def test_a_turn_is_two_messages_and_the_question_is_words(page: ChatPage) -> None:
    _, turns, *_ = asked(page, "![x](https://evil.test/p.png) <b>hi</b>", MINE)
    user, answer = messages(turns)
    assert "<" not in user["content"] and "![" not in user["content"]
    assert answer["role"] == "assistant"


def test_a_page_that_asks_at_once_keeps_the_visitor_it_was_given(page: ChatPage) -> None:
    conversation = asked(page, LAMP, "")[0]
    visitor, shown, *_ = page.open(None, conversation, REQUEST)
    assert len(visitor) == 32 and shown == conversation
    assert page.open(None, None, SimpleNamespace(session_hash="another"))[0] != visitor  # type: ignore[arg-type]


def test_a_refresh_of_the_conversation_that_was_left_changes_nothing(page: ChatPage) -> None:
    conversation, turns, *_ = asked(page, LAMP, MINE)
    asked(page, LAMP, MINE, conversation)
    skipped: Any = gr.skip()
    page.show(MINE, None, conversation, REQUEST)
    assert page.refresh(MINE, conversation, (), REQUEST) == (skipped,) * 3
    page.show(MINE, conversation, None, REQUEST)
    assert len(page.refresh(MINE, conversation, turns, REQUEST)[0]) == 2


def test_a_closed_page_is_forgotten_and_its_answer_is_stopped(rungs: Rungs) -> None:
    unloaded: list[Callable[..., None]] = [
        function.fn  # type: ignore[misc]
        for function in build_chat(rungs).fns.values()
        if any(event == "unload" for _, event in function.targets)
    ]
    (leave,) = unloaded
    page: ChatPage = leave.__self__  # type: ignore[attr-defined]
    waiting = page.running["session"] = threading.Event()
    for number in range(100):
        visit: Any = SimpleNamespace(session_hash=f"s{number}")
        page.open(None, None, visit)
        page.show("", None, "c", visit)
        leave(visit)
    page.open(None, None, REQUEST)
    assert list(page.visitors) == ["session"] and not waiting.is_set()
    leave(REQUEST)
    assert page.visitors == page.left == {} and waiting.is_set()
    leave(REQUEST)
