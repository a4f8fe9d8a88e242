"""Examples to a job: a training set, rendered with exactly the prompts that serving uses, in a folder of its own.

Called by the commands and the console; what happens to the folder then is the affair of `jobs.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from adapters import dataset, job
from adapters.checks import BaseModel, check_name
from adapters.errors import AdapterError
from adapters.gate_questions import Budget, questions
from adapters.generate import with_passages
from adapters.job import Job, Recipe, Row
from adapters.overlap import Golden
from adapters.preview import Preview, preview
from adapters.rendering import row_tokens
from adapters.types import PARTS, Example, Passage, Room
from assistant import prompts
from assistant.adapting import general
from assistant.adapting.jobs import JOBS, PLAN, known_speed
from assistant.adapting.questions import write_questions
from assistant.base_model import base_model_of
from assistant.gating import golden_questions
from assistant.settings import Settings
from assistant.types import Message, Question, TrainableModel, Turn

if TYPE_CHECKING:
    from adapters.dataset import TrainingSet
    from assistant.build import Rungs
    from assistant.evaluation.golden import GoldenRow
    from knowledge.types import Sentence

ROW_TOKENS_MAX = 1024
"""Longer rows are left out: prompts of serving are shorter, and one such row costs as much as four others."""
TRAINING_PARTS = ("trl", "peft", "datasets", "accelerate", "transformers", "torch")


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that is ready to start."""

    folder: Path
    data: TrainingSet
    preview: Preview
    tokens: int
    """Of all rows and epochs, prompts and general rows included."""
    seconds: float | None
    """How long it will take, by the speed of the last training here; None where there was none."""


def plan(
    rungs: Rungs,
    examples: Sequence[Example],
    name: str,
    recipe: Recipe | None = None,
    golden: Sequence[GoldenRow] = (),
    budget: Budget | None = None,
) -> Plan:
    """Make a training set of examples and write it as a job.

    Args:
        rungs: whose model is adapted, and whose knowledge gives rows without passages the ones that serving would show.
        examples: approved rows.
        name: of the adapter.
        recipe: how to train.
        golden: the owner's rows: none may be trained on, and the gate asks them.
        budget: how many questions the gate asks of each check; as the settings say if None.

    Raises:
        AdapterError: the model cannot be trained, the rows cannot be used, or there is no room.
    """
    check_name(name)
    check_installed()
    recipe, model = recipe or Recipe(), trainable(rungs)
    base = base_model_of(rungs.settings)
    data = training_set(rungs, examples, golden)
    asked = tuple(golden_questions(golden, lambda question: sentences(rungs, question)))
    rows = {part: [row_of(model, example) for example in data.part(part)] for part in ("train", "validation")}
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = rungs.settings.home / JOBS / f"{name}-{stamp}"
    cache = rungs.settings.home / "models" / "training"
    job.write(
        folder, Job(name, model.weights, cache, recipe, rungs.settings.threads), rows["train"], rows["validation"]
    )
    _write_plan(folder, rungs.settings, base, data)
    write_questions(folder, questions(data, asked, budget or Budget.of(rungs.settings.gate_questions)))
    tokens = (sum(map(len, rows["train"])) + general.tokens(model, len(rows["train"]))) * recipe.epochs
    speed = known_speed(rungs.settings.home)
    look = preview(data, _room(rungs).tokens_of, model.count_tokens)
    return Plan(folder, data, look, tokens, tokens / speed if speed else None)


def training_set(rungs: Rungs, examples: Sequence[Example], golden: Sequence[GoldenRow] = ()) -> TrainingSet:
    """A training set of examples, each with the passages that serving would show for it now.

    Raises:
        BadTrainingSet: the rows cannot be used; says why.
    """
    exam = Golden({row.id: row.question for row in golden if not row.history})
    shown = with_passages(examples, lambda example: passages(rungs, question_of(example)))
    return dataset.build(shown, exam, _room(rungs))


def _room(rungs: Rungs) -> Room:
    return Room(lambda example: row_tokens(example, render, rungs.model.count_tokens), ROW_TOKENS_MAX)


def render(example: Example) -> list[dict[str, str]]:
    """The messages that serving would send for an example, without the answer."""
    return [{"role": message.role, "content": message.content} for message in messages_of(example)]


def messages_of(example: Example) -> tuple[Message, ...]:
    """As `render`, as serving's own type."""
    return prompts.from_notes(question_of(example), [(passage.address, passage.text) for passage in example.passages])


def question_of(example: Example) -> Question:
    """An example's question in its conversation."""
    history = tuple(Turn(turn.role, turn.text) for turn in example.history)
    return Question(example.question, "", history, "training")


def row_of(model: TrainableModel, example: Example) -> Row:
    """An example as token ids."""
    prompt, completion = model.as_trained(messages_of(example), example.answer)
    return Row(tuple(prompt), tuple(completion))


def sentences(rungs: Rungs, question: Question) -> Sequence[Sentence]:
    """The sentences that serving would show a model."""
    from assistant.build import evidence_tokens
    from assistant.levels.rag import shown_to_a_model

    return shown_to_a_model(rungs.assistant.find(question), rungs.model, evidence_tokens(rungs.settings))


def passages(rungs: Rungs, question: Question) -> tuple[Passage, ...]:
    """As `sentences`, as passages of an example."""
    found = sentences(rungs, question)
    return tuple(Passage(s.text, prompts.address_of(s), s.passage.document) for s in found)


def trainable(rungs: Rungs) -> TrainableModel:
    """The model at hand, if adapters can be trained for it.

    Raises:
        AdapterError: its weights are elsewhere.
    """
    if not hasattr(rungs.model, "as_trained"):
        raise AdapterError(
            f"no adapter can be trained for {rungs.model.name}: its weights are not at hand. "
            'Train with model = "embedded", or with model = "local" and the same weights as a folder.'
        )
    return rungs.model  # type: ignore[return-value]


def check_installed() -> None:
    """Refuse where the extra `train` is not installed.

    Raises:
        AdapterError: names what to do.
    """
    missing = [part for part in TRAINING_PARTS if find_spec(part) is None]
    if missing:
        raise AdapterError(f"training needs {', '.join(missing)}, not installed here. Run: pip install 'rungs[train]'")


def _write_plan(folder: Path, settings: Settings, base: BaseModel, data: TrainingSet) -> None:
    """What the process needs to know beside the job: where to put the adapter, and what its card says of the data."""
    sources = Counter((example.source or "unnamed", example.licence or "the owner's own") for example in data.rows)
    home = str(settings.home.resolve())
    told = {
        "settings": settings.model_dump(mode="json", exclude={"model_key"}) | {"home": home},
        "base_name": base.name,
        "base_hashes": base.hashes,
        "data_hash": dataset.fingerprint(data.rows),
        "sources": [{"name": n, "rows": rows, "licence": licence} for (n, licence), rows in sorted(sources.items())],
        "counts": {part: len(data.part(part)) for part in PARTS},
    }
    (folder / PLAN).write_text(json.dumps(told, indent=1), encoding="utf-8")
