"""A command line on a temporary home: scripted model, hash embedder, no settings file of the machine's."""

from pathlib import Path

import pytest

from tests.ui.serving import CommandLine, write_pages


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNGS_MODEL", "scripted")
    monkeypatch.setenv("RUNGS_EMBEDDER", "hash")
    monkeypatch.delenv("RUNGS_HOME", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "home"


@pytest.fixture
def rungs(home: Path) -> CommandLine:
    return CommandLine(home)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    return write_pages(tmp_path / "pages")
