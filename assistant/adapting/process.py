"""The process of one job: train, take in; each stage is skipped where its result is there already.

`python -m assistant.adapting.process FOLDER`, started by `jobs.py`. It stands aside whenever a question is answered.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adapters import job
from adapters.card import AdapterCard, DataSource, Lineage, TrainingSettings, card_json
from adapters.checks import BaseModel
from adapters.errors import AdapterError
from adapters.job import Job
from adapters.registry import Registry
from assistant.adapting.jobs import PLAN, remember_speed
from assistant.adapting.planning import TRAINING_PARTS
from assistant.answering import is_answering
from assistant.base_model import shapes_of
from assistant.settings import Settings

LOOK_SECONDS = 0.03
"""How soon a training notices that somebody asks, and that nobody does any more."""


def main() -> int:
    """Train, judge, take in; each stage is skipped where its result is there already."""
    parser = argparse.ArgumentParser(
        prog="python -m assistant.adapting.process", description="Carry out a planned training."
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    os.nice(19)
    try:
        if job.result(folder) is None:
            _train(folder)
        if job.result(folder) is not None:
            _take_in(folder)
    except Exception as error:  # the process's edge: whoever waits reads the reason in the folder
        told = str(error) if isinstance(error, AdapterError) else f"{type(error).__name__}: {error}"
        job.tell(folder, "failed", reason=told)
        print(told, file=sys.stderr)
        return 1
    return 0


def _train(folder: Path) -> None:
    """Train in a child, which stands still whenever a question is answered.

    Merely being nice is not enough: the threads of an engine wait for one another, and one that is kept off its core
    keeps them all.
    """
    home = Path(json.loads((folder / PLAN).read_text(encoding="utf-8"))["settings"]["home"])
    command = [sys.executable, "-m", "adapters.train", str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    stands_still = False
    while child.poll() is None:
        if is_answering(home) != stands_still:
            stands_still = not stands_still
            child.send_signal(signal.SIGSTOP if stands_still else signal.SIGCONT)
        time.sleep(LOOK_SECONDS)


def _die_with_parent() -> None:
    """A child that stands still could not notice that nobody is left to wake it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


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


def _versions() -> dict[str, str]:
    found = {}
    for part in TRAINING_PARTS:
        with suppress(PackageNotFoundError):
            found[part] = version(part)
    return found


if __name__ == "__main__":
    sys.exit(main())
