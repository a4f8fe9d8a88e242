"""From rows to an adapter that answers: planned, trained, judged, taken in, promoted. On the real model, a few rows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters import job
from adapters.errors import AdapterError, BadTrainingSet
from adapters.gate_questions import Budget
from adapters.job import Recipe
from adapters.reading import Unsaid, example_of
from adapters.types import Example
from assistant.adapting import general, jobs, planning
from assistant.adapting.judging import samples_path
from assistant.adapting.questions import read_questions
from assistant.build import Rungs, build
from assistant.evaluation.golden import row_of
from assistant.prompts import DECLINE
from assistant.settings import Settings
from assistant.types import Question
from knowledge.ingest import ingest
from tests.homes import retire_the_shipped_adapter
from ui.commands.table import COMMANDS

pytestmark = pytest.mark.engine
THINGS = {
    "lamp": ("green", "kitchen"),
    "kettle": ("blue", "pantry"),
    "drill": ("orange", "workshop"),
    "radio": ("silver", "hall"),
    "heater": ("white", "cellar"),
    "printer": ("black", "office"),
    "camera": ("yellow", "studio"),
    "mixer": ("red", "bakery"),
    "pump": ("purple", "garden"),
    "scanner": ("brown", "library"),
    "projector": ("pink", "theatre"),
    "freezer": ("grey", "garage"),
}
SMALL = Budget(domain=2, declining=2, general=2, attacks=2, memory=2)


def examples(count: int = len(THINGS)) -> list[Example]:
    rows = [
        {
            "id": thing,
            "question": f"Which button starts the {thing}, please?",
            "answer": f"The {colour} one, in the {place}.",
        }
        for thing, (colour, place) in list(THINGS.items())[:count]
    ]
    return [example_of(row, row["id"], Unsaid(DECLINE, "rows", "ann", True)) for row in rows]


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Rungs]:
    home, pages = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("pages")
    (home / "models").mkdir()
    retire_the_shipped_adapter(home)
    for path in weights.parent.glob(f"{weights.name}*"):
        (home / "models" / path.name).symlink_to(path)
    for thing, (colour, place) in THINGS.items():
        text = f"# The {thing}\n\nThe {thing} stands in the {place}. Its {colour} button starts the {thing}.\n"
        (pages / f"{thing}.md").write_text(text)
    built = build(Settings(home=home, demo=False, answer_tokens=24))
    list(ingest(built.store, [pages]))
    yield built
    built.close()


def test_a_plan_renders_what_serving_would_send(rungs: Rungs) -> None:
    made = planning.plan(rungs, examples(), "planned", budget=SMALL)
    try:
        assert made.folder.parent == rungs.settings.home / "training"
        row = job.rows(made.folder, job.TRAIN)[0]
        example = made.data.train[0]
        assert example.passages, "a row without passages gets what retrieval finds"
        assert example.expect == "grounded"
        prompt, completion = rungs.model.as_trained(planning.messages_of(example), example.answer)  # type: ignore[attr-defined]
        assert abs(len(row.prompt) - len(prompt)) < 16, "the notes' mark is drawn anew and may be spelt otherwise"
        assert row.prompt[:40] == tuple(prompt[:40])
        assert row.completion == tuple(completion)
        assert row.completion[-1] == 2, "what ends a message is learned, too"
        kinds = {question.check for question in read_questions(made.folder)}
        assert {"general", "attacks", "memory"} <= kinds
        assert made.seconds is None or made.seconds > 0
        assert any("will not change anything" in warning for warning in made.preview.warnings)
    finally:
        jobs.discard(made.folder)


def test_too_few_rows_are_refused(rungs: Rungs) -> None:
    with pytest.raises(BadTrainingSet, match="at least 8 are needed"):
        planning.plan(rungs, examples(5), "few")
    assert not [path for path in jobs.jobs(rungs.settings.home) if path.name.startswith("few")]


def test_a_golden_question_is_not_trained_on(rungs: Rungs) -> None:
    golden = [row_of({"id": "g1", "question": "Which button starts the lamp, please?", "answer": "the green one"})]
    with pytest.raises(BadTrainingSet, match="g1"):
        planning.plan(rungs, examples(), "cheat", golden=golden)


def test_a_name_that_is_none_is_refused(rungs: Rungs) -> None:
    with pytest.raises(AdapterError, match="no name for an adapter"):
        planning.plan(rungs, examples(), "../../etc")


def test_rows_become_an_adapter_that_answers_and_goes_away_again(rungs: Rungs) -> None:
    made = planning.plan(rungs, examples(), "house", Recipe(epochs=2, learning_rate=1e-3), budget=SMALL)
    jobs.start(made.folder)
    with pytest.raises(AdapterError, match="already"):
        wait_for_lock(made.folder)
        jobs.start(made.folder)
    seen = [step.label for step in jobs.follow(made.folder, threading.Event())]
    assert any("loss" in label for label in seen)
    done = jobs.outcome(made.folder)
    assert done["adapter"] == "house"
    assert done["loss_last"] < done["loss_first"] * 1.5
    assert done["gate"]["verdict"] == "too_little_evidence", "four questions prove nothing"
    card = rungs.registry.show("house", done["revision"])
    assert [source.name for source in card.lineage.sources] == ["rows", general.SOURCE]
    assert card.versions["trl"]
    assert card.gate is not None and card.gate.reasons
    samples = samples_path(rungs.settings.home, "house", done["revision"]).read_text().splitlines()
    assert {"base", "candidate"} <= set(json.loads(samples[0])["replies"])
    with pytest.raises(AdapterError, match="reason"):
        run(rungs, "adapters-promote", name="house", by="ann")
    run(rungs, "adapters-promote", name="house", by="ann", reason="a test")
    trace = rungs.assistant.ask(Question("Which button starts the pump?", conversation(rungs), level="lora"))
    assert trace.answer.level == "lora"
    assert trace.versions["adapter"] == f"house@{done['revision']}"
    run(rungs, "adapters-retire", name="house", by="ann")
    trace = rungs.assistant.ask(Question("Which button starts the pump?", conversation(rungs), level="lora"))
    assert trace.attempts[-1].skipped_because == "no adapter promoted"


def test_a_training_that_is_stopped_goes_on_later(rungs: Rungs, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"id": e.id, "question": e.question, "answer": e.answer} for e in examples()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    jobs.remember_speed(rungs.settings.home, 100.0)
    cancel = threading.Event()
    with pytest.raises(AdapterError, match="rungs train --resume --name stopped"):
        for step in COMMANDS["train"](rungs, {"data": str(data), "name": "stopped", "epochs": 3}, cancel):
            if step.get("progress", {}).get("total", 0) > 1:
                cancel.set()
    folder = jobs.unfinished(rungs.settings.home, "stopped")
    assert job.state(folder)["stage"] == "cancelled"
    assert job.result(folder) is None
    assert list(folder.glob("checkpoint-*"))
    jobs.discard(folder)


def wait_for_lock(folder: Path) -> None:
    for _ in range(400):
        if job.is_running(folder):
            return
        threading.Event().wait(0.05)


def conversation(rungs: Rungs) -> str:
    return rungs.traces.open_conversation("v", "cli")


def run(rungs: Rungs, command: str, **arguments: Any) -> dict[str, Any]:
    *_, last = COMMANDS[command](rungs, arguments, threading.Event())
    return dict(last["result"])
