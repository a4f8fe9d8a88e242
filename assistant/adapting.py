"""From examples to a candidate in the registry: plan a job, train it in a process of its own, judge it, take it in.

`plan` writes the job with exactly the prompts that serving uses; `start` runs it apart from whoever asked, so that it
outlives a reload and yields to answering; `follow` tells how far it is. A job that was killed goes on where its last
whole checkpoint stands. Called by the commands and the console.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import dataset, job
from adapters.card import AdapterCard, DataSource, Lineage, TrainingSettings, card_json
from adapters.checks import BaseModel, check_name
from adapters.errors import AdapterError
from adapters.generate import with_passages
from adapters.job import Job, Recipe, Row
from adapters.preview import Preview, preview
from adapters.registry import Registry
from adapters.rendering import row_tokens
from adapters.types import PARTS, Example, Passage, Room
from assistant import prompts
from assistant.base_model import base_model_of, shapes_of
from assistant.settings import Settings
from assistant.types import Message, Question, TrainableModel, Turn
from knowledge.types import Progress

if TYPE_CHECKING:
    from adapters.dataset import TrainingSet
    from adapters.overlap import Golden
    from assistant.build import Rungs

JOBS = "training"
PLAN, SPEED, LOG = "plan.json", "speed.json", "log.txt"
ROW_TOKENS_MAX = 1024
"""Longer rows are left out: prompts of serving are shorter, and one such row costs as much as four others."""
POLL_SECONDS = 0.5
TRAINING_PARTS = ("trl", "peft", "datasets", "accelerate", "transformers", "torch")
_JOB_NAME = re.compile(r"(?P<name>.+)-\d{8}-\d{6}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that is ready to start."""

    folder: Path
    data: TrainingSet
    preview: Preview
    tokens: int
    """Of all rows and epochs, prompts included."""
    seconds: float | None
    """How long it will take, by the speed of the last training here; None where there was none."""


def plan(
    rungs: Rungs, examples: Sequence[Example], name: str, recipe: Recipe | None = None, golden: Golden | None = None
) -> Plan:
    """Make a training set of examples and write it as a job.

    Args:
        rungs: whose model is adapted, and whose knowledge gives rows without passages the ones that serving would show.
        examples: approved rows.
        name: of the adapter.
        recipe: how to train.
        golden: questions that must not be trained on.

    Raises:
        AdapterError: the model cannot be trained, the rows cannot be used, or there is no room.
    """
    check_name(name)
    check_installed()
    recipe, model = recipe or Recipe(), trainable(rungs)
    base = base_model_of(model, rungs.settings.home)
    room = Room(lambda example: row_tokens(example, render, model.count_tokens), ROW_TOKENS_MAX)
    data = dataset.build(with_passages(examples, lambda text: shown(rungs, text)), golden, room)
    rows = {part: [row_of(model, example) for example in data.part(part)] for part in ("train", "validation")}
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = rungs.settings.home / JOBS / f"{name}-{stamp}"
    cache = rungs.settings.home / "models" / "training"
    job.write(
        folder, Job(name, model.weights, cache, recipe, rungs.settings.threads), rows["train"], rows["validation"]
    )
    _write_plan(folder, rungs.settings, base, data)
    tokens = sum(map(len, rows["train"])) * recipe.epochs
    speed = known_speed(rungs.settings.home)
    look = preview(data, room.tokens_of, model.count_tokens)
    return Plan(folder, data, look, tokens, tokens / speed if speed else None)


def render(example: Example) -> list[dict[str, str]]:
    """The messages that serving would send for an example, without the answer."""
    return [{"role": message.role, "content": message.content} for message in messages_of(example)]


def messages_of(example: Example) -> tuple[Message, ...]:
    """As `render`, as serving's own type."""
    history = tuple(Turn(turn.role, turn.text) for turn in example.history)
    question = Question(example.question, "", history, "training")
    return prompts.from_notes(question, [(passage.address, passage.text) for passage in example.passages])


def row_of(model: TrainableModel, example: Example) -> Row:
    """An example as token ids."""
    prompt, completion = model.as_trained(messages_of(example), example.answer)
    return Row(tuple(prompt), tuple(completion))


def shown(rungs: Rungs, text: str) -> tuple[Passage, ...]:
    """What serving would show a model for a question that stands alone."""
    from assistant.build import evidence_tokens
    from assistant.levels.rag import shown_to_a_model

    evidence = rungs.assistant.find(Question(text, "", (), "training"))
    sentences = shown_to_a_model(evidence, rungs.model, evidence_tokens(rungs.settings))
    return tuple(Passage(s.text, prompts.address_of(s), s.passage.document) for s in sentences)


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


def discard(folder: Path) -> None:
    """Remove a job that was only looked at."""
    shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path) -> None:
    """Let a process of its own train, judge and take in the job; it goes on when this one ends.

    Raises:
        AdapterError: it is running already.
    """
    if job.is_running(folder):
        raise AdapterError(f"{folder.name} is being trained already. Wait for it, or cancel it.")
    with suppress(FileNotFoundError):
        (folder / job.CANCEL).unlink()
    job.tell(folder, "stage", label="starting")
    with (folder / LOG).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "assistant.adapting", str(folder.resolve())],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def follow(folder: Path, cancel: threading.Event) -> Iterator[Progress]:
    """How far a job is, until it is over. Once `cancel` is set, or this is closed, the job saves and stops.

    Raises:
        AdapterError: it failed, or its process died.
    """
    over = False
    silent = 0
    try:
        while not over:
            state = job.state(folder)
            over = state["stage"] in ("done", "failed", "cancelled")
            if over:
                continue
            if cancel.is_set():
                job.cancel(folder)
            silent = 0 if job.is_running(folder) or state["stage"] == "starting" else silent + 1
            if silent > 10:
                raise AdapterError(
                    f"the process that trained {folder.name} died ({_last_words(folder)}). {_resume(folder)}"
                )
            yield _as_progress(state)
            time.sleep(POLL_SECONDS)
    finally:
        if not over:
            job.cancel(folder)
    if state["stage"] != "done":
        reason = state.get("reason") or "stopped"
        raise AdapterError(f"training {folder.name}: {reason}. {_resume(folder)}" if reason == "cancelled" else reason)


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished job came to: the command's result."""
    done = next(line for line in reversed(list(job.told(folder))) if line["kind"] == "done")
    trained = job.result(folder) or {}
    return {
        "adapter": done["adapter"],
        "revision": done["revision"],
        "seconds": trained.get("seconds"),
        "loss_first": trained.get("loss_first"),
        "loss_last": trained.get("loss_last"),
        "loss_held_out": trained.get("loss_held_out"),
        "tokens_per_second": trained.get("tokens_per_second"),
        "gate": done.get("gate"),
    }


def jobs(home: Path) -> list[Path]:
    """The jobs of a home, newest first."""
    folder = home / JOBS
    found = [path for path in folder.iterdir() if _JOB_NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.name[-15:], reverse=True)


def unfinished(home: Path, name: str) -> Path:
    """The newest job of an adapter that is not over.

    Raises:
        AdapterError: there is none.
    """
    for folder in jobs(home):
        match = _JOB_NAME.fullmatch(folder.name)
        if match and match["name"] == name and job.state(folder)["stage"] != "done":
            return folder
    raise AdapterError(f"there is no unfinished training of {name}.")


def dry_run(folder: Path, seconds: float, cancel: threading.Event) -> Iterator[Progress | dict[str, Any]]:
    """Train for some seconds, keep nothing; last the measured speed and what the whole would take."""
    process = subprocess.Popen(
        [sys.executable, "-m", "adapters.train", str(folder), "--dry-run", str(seconds)],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    started = time.monotonic()
    try:
        while process.poll() is None:
            if cancel.wait(POLL_SECONDS):
                raise AdapterError("the dry run was stopped.")
            passed = int(min(seconds, time.monotonic() - started))
            yield Progress(passed, int(seconds), job.state(folder)["stage"])
    finally:
        process.kill()
        _, words = process.communicate()
    speed = job.state(folder).get("speed")
    if process.returncode or not speed or not speed.get("tokens_per_second"):
        raise AdapterError(f"the dry run failed: {words.decode(errors='replace').strip()[-300:] or 'too few steps'}")
    remember_speed(folder.parent.parent, speed["tokens_per_second"])
    yield {"tokens_per_second": round(speed["tokens_per_second"], 1), "peak_bytes": speed["peak_bytes"]}


def known_speed(home: Path) -> float | None:
    """Tokens per second of the last training on this machine."""
    try:
        return float(json.loads((home / JOBS / SPEED).read_text(encoding="utf-8"))["tokens_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_speed(home: Path, tokens_per_second: float) -> None:
    """Keep it for the next estimate."""
    with suppress(OSError):
        (home / JOBS / SPEED).write_text(json.dumps({"tokens_per_second": tokens_per_second}), encoding="utf-8")


# the process


def main() -> int:
    """Train, judge, take in; each stage is skipped where its result is there already."""
    parser = argparse.ArgumentParser(prog="python -m assistant.adapting", description="Carry out a planned training.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    os.nice(19)
    try:
        if job.result(folder) is None:
            command = [sys.executable, "-m", "adapters.train", str(folder)]
            subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        if job.result(folder) is not None:
            _take_in(folder)
    except Exception as error:  # the process's edge: whoever waits reads the reason in the folder
        told = str(error) if isinstance(error, AdapterError) else f"{type(error).__name__}: {error}"
        job.tell(folder, "failed", reason=told)
        print(told, file=sys.stderr)
        return 1
    return 0


def _take_in(folder: Path) -> None:
    """Put the trained adapter into the registry as a candidate."""
    told = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    settings, the, result = Settings(**told["settings"]), job.read(folder), job.result(folder) or {}
    remember_speed(settings.home, result["tokens_per_second"])
    job.tell(folder, "stage", label="taking it in")
    base = BaseModel(told["base_name"], tuple(told["base_hashes"]), shapes_of(the.weights))
    card = _card(the, told, result)
    added = Registry(settings.home, base).add(folder / job.ADAPTER, card)
    job.tell(folder, "done", adapter=added.name, revision=added.revision, gate=card_json(added)["gate"])


def _card(the: Job, told: Mapping[str, Any], result: Mapping[str, Any]) -> AdapterCard:
    recipe = the.recipe
    return AdapterCard(
        name=the.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        base_name=told["base_name"],
        base_hash=told["base_hashes"][0],
        lineage=Lineage(
            told["data_hash"],
            tuple(DataSource(s["name"], s["rows"], s["licence"]) for s in told["sources"]),
            {"counts": told["counts"]},
        ),
        settings=TrainingSettings(
            recipe.rank,
            recipe.alpha,
            recipe.targets,
            recipe.learning_rate,
            float(recipe.epochs),
            recipe.seed,
            {"batch": recipe.batch, "warmup": recipe.warmup, "steps": result["steps"], "tokens": result["tokens"]},
        ),
        versions=_versions(),
        loss_first=result["loss_first"],
        loss_last=result["loss_last"],
        extra={"loss_held_out": result["loss_held_out"], "seconds": result["seconds"]},
    )


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


def _versions() -> dict[str, str]:
    found = {}
    for part in TRAINING_PARTS:
        with suppress(PackageNotFoundError):
            found[part] = version(part)
    return found


def _as_progress(state: Mapping[str, Any]) -> Progress:
    """A job's state as the progress that every surface shows."""
    if not state["steps"]:
        return Progress(0, 1, state["stage"])
    parts = [f"loss {state['loss_smoothed']:.2f}"]
    if state.get("tokens_per_second"):
        parts.append(f"{state['tokens_per_second']:.0f} tokens/s")
    return Progress(state["step"], state["steps"], ", ".join(parts) if state["stage"] == "training" else state["stage"])


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no word"
    return lines[-1][:300] if lines else "it left no word"


def _resume(folder: Path) -> str:
    match = _JOB_NAME.fullmatch(folder.name)
    return f"Go on with: rungs train --resume --name {match['name'] if match else folder.name}"


if __name__ == "__main__":
    sys.exit(main())
