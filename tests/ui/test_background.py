"""Long work in the server: one at a time of a kind, its steps kept, stopped between two of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.build import Rungs, build
from assistant.errors import AssistantError
from assistant.settings import Settings
from tests.ui.serving import write_pages
from ui.background import Background, Job
from ui.commands import table as commands


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(Settings(home=tmp_path / "home", model="scripted", embedder="hash"))
    yield built
    built.close()


def ended(background: Background, kind: str) -> Job:
    for _ in range(600):
        job = background.job(kind)
        assert job
        if not job.running:
            return job
        time.sleep(0.05)
    raise AssertionError("it never ended")


def test_work_goes_on_by_itself_and_its_result_is_kept(rungs: Rungs, tmp_path: Path) -> None:
    background = Background(rungs)
    assert background.job("ingest") is None
    pages = str(write_pages(tmp_path / "pages"))
    background.start("ingest", "Reading pages", "ingest", {"paths": [pages]}, "ann")
    job = ended(background, "ingest")
    assert job.result and job.result["added"] == 3 and job.by == "ann" and not job.error
    assert background.job("ingest") == job, "who comes later finds it"


def test_what_goes_wrong_is_kept_in_words(rungs: Rungs) -> None:
    background = Background(rungs)
    background.start("ingest", "Removing", "sources-remove", {"source": "none"}, "ann")
    assert "no source" in (ended(background, "ingest").error or "")


def test_one_of_a_kind_at_a_time_and_a_stop_keeps_what_was_done(rungs: Rungs, monkeypatch: pytest.MonkeyPatch) -> None:
    go, steps = threading.Event(), 0

    def slow(*_: object) -> commands.Steps:
        nonlocal steps
        while True:
            steps += 1
            yield {"progress": {"done": steps, "total": 99, "label": "slow"}}
            go.wait(10)

    monkeypatch.setitem(commands.COMMANDS, "slow", slow)  # type: ignore[arg-type]
    background = Background(rungs)
    background.start("slow", "Slow work", "slow", {}, "ann")
    with pytest.raises(AssistantError, match="Slow work is under way"):
        background.start("slow", "More", "slow", {}, "bob")
    background.cancel("slow")
    go.set()
    job = ended(background, "slow")
    assert job.cancelled and job.result is None and steps <= 2
    background.start("slow", "Slow work", "slow", {}, "ann")
    background.close()
    assert not ended(background, "slow").running
