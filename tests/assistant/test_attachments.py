"""Attached documents: found for their own conversation only, refused in words, gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.attachments import BYTES_MAX, NAME_CHARACTERS, PER_CONVERSATION, shown_name
from assistant.build import Rungs, build
from assistant.erasure import erase_conversation
from assistant.errors import AssistantError
from assistant.settings import Settings
from assistant.types import Evidence, Question
from knowledge.ingest import ingest
from tests.ui.serving import write_pages

ANN = "a" * 32
LEASE = b"# Lease\n\nThe rent of the boathouse is eleven hundred florins, due on the third of each month.\n"
RENT = "What is the rent of the boathouse?"


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash", demo=False))
    list(ingest(built.store, [write_pages(tmp_path / "pages")]))
    yield built
    built.close()


def opened(rungs: Rungs, visitor: str = ANN) -> str:
    return rungs.traces.open_conversation(visitor, "chat")


def found(rungs: Rungs, conversation: str, text: str = RENT) -> Evidence:
    return rungs.assistant.ask(Question(text, conversation, (), "chat")).evidence


def titles(evidence: Evidence) -> set[str]:
    return {hit.passage.title for hit in evidence.hits}


def test_a_document_is_found_for_its_conversation_together_with_what_is_known(rungs: Rungs) -> None:
    conversation = opened(rungs)
    rungs.attachments.add(conversation, "lease.md", LEASE)
    evidence = found(rungs, conversation)
    assert evidence.hits[0].passage.title == "Your document: lease.md" and len(titles(evidence)) > 1
    assert "eleven hundred florins" in evidence.sentences[0].text
    assert found(rungs, conversation, "How often is a kettle descaled?").hits[0].passage.document == "kettles.md"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from("rent boathouse florins lease lamp month third due".split()), min_size=1))
def test_no_question_of_another_conversation_ever_sees_it(rungs: Rungs, words: list[str]) -> None:
    conversation = opened(rungs)
    rungs.attachments.add(conversation, "lease.md", LEASE)
    for other in (opened(rungs), opened(rungs, "b" * 32)):
        evidence = found(rungs, other, " ".join(words))
        assert not any("florins" in hit.passage.text for hit in evidence.hits)
        assert rungs.attachments.of(other) == ()
    assert rungs.store.count() == 5 and "Your document" not in repr(rungs.store.documents())


def test_what_was_removed_is_not_found_and_only_its_own_conversation_removes_it(rungs: Rungs) -> None:
    mine, theirs = opened(rungs), opened(rungs, "b" * 32)
    attachment = rungs.attachments.add(mine, "lease.md", LEASE)
    with pytest.raises(AssistantError, match="no such document"):
        rungs.attachments.remove(theirs, attachment.id)
    assert rungs.attachments.of(mine) == (attachment,)
    rungs.attachments.remove(mine, attachment.id)
    assert rungs.attachments.of(mine) == () and "florins" not in repr(found(rungs, mine).hits)


def test_it_goes_with_its_conversation_and_leaves_nothing_on_disk(rungs: Rungs) -> None:
    conversation = opened(rungs)
    rungs.attachments.add(conversation, "lease.md", LEASE)
    found(rungs, conversation)
    assert erase_conversation(rungs.engine, conversation).wiped
    kept = b"".join(path.read_bytes() for path in rungs.settings.home.glob("rungs.db*"))
    assert b"florins" not in kept


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("virus.exe", b"MZ", r"cannot be read. Attach one of: .pdf"),
        ("large.txt", b"a" * (BYTES_MAX + 1), "too large: at most 5 MB"),
        ("empty.txt", b" \n", "empty.txt"),
        ("broken.pdf", b"%PDF-1.7 broken", "broken.pdf"),
        ("lying.pdf", b"<html>", "lying.pdf"),
        ("bomb.docx", b"PK\x03\x04" + b"0" * 100, "bomb.docx"),
        ("long.txt", b"One more sentence about boats. " * 60_000, "too long"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words_and_keeps_nothing(
    rungs: Rungs, name: str, content: bytes, why: str
) -> None:
    conversation = opened(rungs)
    with pytest.raises(AssistantError, match=why) as refused:
        rungs.attachments.add(conversation, name, content)
    assert "rungs-attached" not in str(refused.value) and rungs.attachments.of(conversation) == ()


def test_there_is_room_for_a_few_only(rungs: Rungs) -> None:
    conversation = opened(rungs)
    for number in range(PER_CONVERSATION):
        rungs.attachments.add(conversation, f"{number}.md", LEASE)
    with pytest.raises(AssistantError, match="Remove one"):
        rungs.attachments.add(conversation, "another.md", LEASE)
    assert len(rungs.attachments.of(conversation)) == PER_CONVERSATION


@given(st.text())
def test_a_name_is_one_short_line_without_a_folder(name: str) -> None:
    shown = shown_name(name)
    assert shown and len(shown) <= NAME_CHARACTERS and "/" not in shown and "\n" not in shown
