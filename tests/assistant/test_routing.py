"""The route: every level in order, every skipped one with its reason, and a person for whoever asks for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from assistant import routing
from assistant.types import LEVEL_NAMES, Attempt, Evidence, Level, Question, Words

FOUND = Evidence(("why?",))


class Rung:
    def __init__(self, name: Level, skip: str | None = None) -> None:
        self.name, self.skip = name, skip
        self.asked: list[tuple[Question, Evidence]] = []

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        self.asked.append((question, evidence))
        return self.skip

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        raise AssertionError("a route is planned before anything is tried")


def rungs(**skips: str) -> list[Rung]:
    return [Rung(name, skips.get(name)) for name in LEVEL_NAMES]


def reasons(text: str, levels: list[Rung], level: Level | None = None) -> list[str | None]:
    return [step.skipped_because for step in routing.plan(Question(text, "c", level=level), FOUND, levels).steps]


def test_every_level_has_its_step_in_the_order_of_the_climb() -> None:
    steps = routing.plan(Question("why?", "c"), FOUND, rungs()).steps
    assert [step.level for step in steps] == ["prompting", "rag", "lora"]
    assert [step.skipped_because for step in steps] == [None, None, None]


def test_the_order_is_that_of_the_levels_given_and_no_level_is_left_out() -> None:
    lora, rag = Rung("lora", "no adapter promoted"), Rung("rag")
    assert [s.level for s in routing.plan(Question("why?", "c"), FOUND, [rag, lora]).steps] == ["rag", "lora"]
    assert routing.plan(Question("why?", "c"), FOUND, []).steps == ()


def test_a_level_says_in_its_own_words_why_it_is_skipped() -> None:
    levels = rungs(prompting="the question is one for the documents", lora="no adapter promoted")
    assert reasons("why?", levels) == ["the question is one for the documents", None, "no adapter promoted"]


def test_a_level_decides_on_the_question_and_the_evidence_at_hand() -> None:
    level, question = Rung("rag"), Question("why?", "c")
    routing.plan(question, FOUND, [level])
    assert level.asked == [(question, FOUND)]


@pytest.mark.parametrize("forced", LEVEL_NAMES)
def test_a_forced_level_is_the_only_one_and_the_others_say_so(forced: Level) -> None:
    for level, reason in zip(LEVEL_NAMES, reasons("why?", rungs(), forced), strict=True):
        assert reason == (None if level == forced else f"only level {forced} was asked for")


def test_a_forced_level_that_cannot_be_tried_still_says_why() -> None:
    assert reasons("why?", rungs(lora="no adapter promoted"), "lora")[2] == "no adapter promoted"


@pytest.mark.parametrize(
    "text",
    [
        "Can I talk to a human please?",
        "I want to speak with an agent",
        "SPEAK TO A REPRESENTATIVE",
        "please connect me with a real person",
        "Transfer me to the support staff now",
        "put me through to an operator",
        "Hand me over to someone real!",
        "This is useless. Let me chat with a person.",
        "Could I talk\nto a human?",
        "I need a human",
        "get me a person, now",
        "human please",
        "Agent!",
        "how do I contact somebody?",
        "need assistance speaking to a live agent",
        "I have to speak with an agent about my last bill",
        "Can I reach a human being?",
        "When people talk to an agent they wait, so connect me to a human now",
    ],
)
def test_who_asks_for_a_person_gets_one_and_no_level_is_tried(text: str) -> None:
    assert routing.wants_person(Question(text, "c"))
    assert reasons(text, rungs(lora="no adapter promoted")) == [routing.ASKED_FOR_A_PERSON] * 3


@pytest.mark.parametrize(
    "text",
    [
        "Are you a real person?",
        "How many people can use one account?",
        "What does the agent see in the copilot?",
        "How do I put a document online?",
        "Does the robot speak English?",
        "I will talk about the weather. Is an agent a kind of program?",
        "How do I transfer files?",
        "Which personal data is stored?",
        "Is there a chat page? What can a person do there?",
        "Am I talking to a real person or a bot?",
        "How do I connect an agent to my account?",
        "How do I transfer ownership to another person?",
        "How do I hand over a ticket to another agent?",
        "How do I put a person on the list of approvers?",
        "How do I talk to the agent API?",
        "How do I talk to the assistant from my own page?",
        "Does the operator speak to the agent?",
        "What happens when users talk to an agent?",
        "Do I need an operator?",
        "I need an agent for my mail program",
        "At what time can I reach customer service?",
    ],
)
def test_talking_of_persons_is_not_asking_for_one(text: str) -> None:
    assert not routing.wants_person(Question(text, "c"))
    assert reasons(text, rungs()) == [None, None, None]


@pytest.mark.parametrize("level", LEVEL_NAMES)
def test_a_forced_level_answers_even_who_asks_for_a_person(level: Level) -> None:
    question = Question("Can I talk to a human?", "c", level=level)
    assert not routing.wants_person(question)
    assert None in [step.skipped_because for step in routing.plan(question, FOUND, rungs()).steps]


@pytest.mark.parametrize("text", ["talk to the ", "human ", "connect me to ", "a ", "when users talk to a human, "])
def test_a_long_text_of_almost_asking_is_looked_through_at_once(text: str) -> None:
    started = time.process_time()
    assert not routing.wants_person(Question((text * 100_000)[:200_000], "c"))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "topics", "person"),
    [
        ("I want my REFUND, please.", ["refund"], True),
        ("refunding rules", ["refund"], False),
        ("What about legal action?", ["legal action"], True),
        ("Is it legal? Take action!", ["legal action"], False),
        ("Anything", ["", "!!"], False),
    ],
)
def test_a_topic_that_is_for_people_only_goes_to_a_person(text: str, topics: list[str], person: bool) -> None:
    assert (routing.for_a_person(Question(text, "c"), topics) == routing.FOR_PEOPLE_ONLY) == person
    assert routing.for_a_person(Question(text, "c", level="rag"), topics) is None
