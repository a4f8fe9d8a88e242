"""Documents that came over the network stay where they belong, whatever they are called; a pair becomes knowledge."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.build import Rungs, build
from assistant.errors import AssistantError
from assistant.settings import Settings
from ui import uploads
from ui.answer_pairs import ANSWERS, add_pair


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash"))
    yield built
    built.close()


@pytest.mark.parametrize("name", ["../../evil.md", "..\\..\\evil.md", "/etc/evil.md", "a/b/evil.md"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    kept = uploads.keep(tmp_path, "manuals", name, io.BytesIO(b"x"))
    assert kept == uploads.folder_of(tmp_path, "manuals") / "evil.md"


@pytest.mark.parametrize("name", ["", None, ".hidden", "..", "a/", "x" * 300])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str | None) -> None:
    if name == "a/":
        name = "/"
    with pytest.raises(AssistantError, match="no name for a document"):
        uploads.keep(tmp_path, "manuals", name, io.BytesIO(b"x"))


@pytest.mark.parametrize("source", ["", "..", "A", "a b", "a/b", "x" * 65])
def test_what_is_no_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(AssistantError, match="a source is named"):
        uploads.folder_of(tmp_path, source)


def test_only_uploads_are_forgotten(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.md").write_text("mine")
    uploads.forget(tmp_path, str(elsewhere))
    uploads.forget(tmp_path, str(elsewhere), "a.md")
    kept = uploads.keep(tmp_path, "manuals", "a.md", io.BytesIO(b"x"))
    uploads.forget(tmp_path, str(kept.parent), "../../../elsewhere/a.md")
    assert (elsewhere / "a.md").exists() and kept.exists()
    uploads.forget(tmp_path, str(kept.parent), "a.md")
    assert not kept.exists()


def test_a_pair_can_be_found_and_is_replaced_by_a_later_one(rungs: Rungs) -> None:
    first = add_pair(rungs, "How do I cancel my subscription?", "Press the blue button.")
    assert rungs.store.retrieve(["cancel subscription"], 1)[0].passage.text == "Press the blue button."
    again = add_pair(rungs, "How do I cancel my  subscription?", "Press the green button.")
    assert first == again
    (document,) = rungs.store.documents()
    assert Path(document.source).name == ANSWERS and document.passages == 1
    assert rungs.store.retrieve(["cancel subscription"], 1)[0].passage.text == "Press the green button."


@pytest.mark.parametrize(("question", "answer"), [("", "a"), ("q", " "), ("q" * 501, "a"), ("q", "a" * 8001)])
def test_half_a_pair_or_too_much_of_one_is_refused(rungs: Rungs, question: str, answer: str) -> None:
    with pytest.raises(AssistantError):
        add_pair(rungs, question, answer)
    assert rungs.store.count() == 0


@pytest.mark.parametrize(
    "question", ["???", "<script>alert(1)</script>", "../../x", "日本語の質問", "a\x00b", "\ud800"]
)
def test_any_wording_makes_a_name(rungs: Rungs, question: str) -> None:
    add_pair(rungs, question, "So it is answered.")
    assert rungs.store.count() == 1
