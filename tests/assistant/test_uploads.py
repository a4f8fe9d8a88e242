"""Documents that came over the network stay where they belong, whatever they are called."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from assistant import uploads
from assistant.errors import AssistantError


@pytest.mark.parametrize("name", ["../../evil.md", "..\\..\\evil.md", "/etc/evil.md", "a/b/evil.md"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    kept = uploads.keep(tmp_path, "manuals", name, io.BytesIO(b"x"))
    assert kept == uploads.folder_of(tmp_path, "manuals") / "evil.md"


@pytest.mark.parametrize("name", ["", None, ".hidden", "..", "/", "a\nb.md", "x" * 300])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str | None) -> None:
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


def test_a_file_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the line broke")

    with pytest.raises(OSError, match="the line broke"):
        uploads.keep(tmp_path, "manuals", "a.md", Broken())
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize("source", ["..", ".", "answers/..", "../..", ""])
def test_no_name_of_a_source_has_the_home_removed(tmp_path: Path, source: str) -> None:
    kept = uploads.keep(tmp_path, "manuals", "a.md", io.BytesIO(b"x"))
    uploads.forget(tmp_path, f"{tmp_path / 'uploads'}/{source}")
    uploads.forget(tmp_path, source)
    assert kept.exists()
