"""A person's answer becomes knowledge: found at once, once for each question."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.answer_pairs import ANSWER_MAX, add_pair, add_pairs
from assistant.errors import AssistantError
from knowledge.store import KnowledgeStore
from tests.knowledge.storing import opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with opened(tmp_path) as empty:
        yield empty


def test_a_pair_can_be_found_when_it_is_acknowledged(store: KnowledgeStore, tmp_path: Path) -> None:
    name = add_pair(store, tmp_path, "How do I  dim a lamp?", "Turn the \u201cbrass\u201d ring.\nSlowly.", "ann")
    (hit,) = store.retrieve(["dim a lamp"], 3)
    assert hit.passage.heading.endswith("How do I dim a lamp?") and "brass" in hit.passage.text
    row = json.loads((tmp_path / "uploads" / "answers" / name).read_text())
    assert (row["question"], row["by"]) == ("How do I dim a lamp?", "ann")


def test_the_same_question_is_one_pair_however_it_is_written(store: KnowledgeStore, tmp_path: Path) -> None:
    one = add_pair(store, tmp_path, "How do I dim a lamp?", "Turn the brass ring.")
    other = add_pair(store, tmp_path, "how do I dim a lamp", "Turn the silver ring.")
    add_pair(store, tmp_path, "How do I dim a candle?", "You cannot.")
    assert one == other
    texts = [passage.text for passage in store.passages()]
    assert len(texts) == 2 and any("silver" in text for text in texts) and not any("brass" in text for text in texts)


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        (" ", "x", "question is empty"),
        ("x", "\n", "answer is empty"),
        ("x" * 501, "x", "Shorten it"),
        ("x", "x" * (ANSWER_MAX + 1), "Shorten it"),
    ],
)
def test_what_is_no_pair_is_refused(
    store: KnowledgeStore, tmp_path: Path, question: str, answer: str, told: str
) -> None:
    with pytest.raises(AssistantError, match=told):
        add_pair(store, tmp_path, question, answer)
    assert store.count() == 0


@pytest.mark.parametrize(
    "question",
    [
        "../../etc/passwd",
        "日本語の質問?",
        "\ud800 broken",
        "a" * 400,
        "-",
        "???",
        "<script>alert(1)</script>",
        "a\x00b",
    ],
)
def test_a_question_never_names_a_place(store: KnowledgeStore, tmp_path: Path, question: str) -> None:
    name = add_pair(store, tmp_path, question, "An answer about it.")
    assert "/" not in name and [p.name for p in (tmp_path / "uploads" / "answers").iterdir()] == [name]
    assert store.count() == 1


def test_many_at_once_lose_nothing(store: KnowledgeStore, tmp_path: Path) -> None:
    questions = [f"How do I mend lamp {number}?" for number in range(8)]
    start = threading.Barrier(len(questions))

    def add(question: str) -> None:
        start.wait()
        add_pair(store, tmp_path, question, "With the glue for lamps.")

    threads = [threading.Thread(target=add, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passage.heading.rsplit(" > ")[-1] for passage in store.passages()) == questions


def test_what_was_last_written_is_what_is_found(store: KnowledgeStore, tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def add(number: int) -> None:
        start.wait()
        add_pair(store, tmp_path, "How do I dim a lamp?", f"Turn ring {number}.")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (tmp_path / "uploads" / "answers").iterdir()
    assert [passage.text for passage in store.passages()] == [json.loads(file.read_text())["answer"]]


def test_a_set_that_is_sent_again_changes_only_what_is_new(store: KnowledgeStore, tmp_path: Path) -> None:
    pairs = [("How do I dim a lamp?", "Turn the ring."), ("How do I clean a lamp?", "With a cloth.")]
    assert add_pairs(store, tmp_path, pairs, "ann", "faq").added == 2
    again = add_pairs(store, tmp_path, [*pairs, ("Who sells lamps?", "We do.")], "bob", "faq")
    assert (again.unchanged, again.updated, again.added) == (2, 0, 1)
    with pytest.raises(AssistantError, match="answer is empty"):
        add_pairs(store, tmp_path, [("Who mends lamps?", "We do."), ("Who buys lamps?", " ")], "ann", "faq")
    assert len(store.documents()) == 3, "all or none"
