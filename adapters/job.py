"""A training job as a folder: what is to be trained, how far it is, what came of it. The contract of two processes.

The one that wants an adapter writes the folder and reads its progress; the one that trains reads the rows and writes
the progress. Rows are token ids, made by whoever serves, so that training sees exactly what serving shows.

    job.json  train.jsonl  general.jsonl  validation.jsonl  progress.jsonl  checkpoint-N/  adapter/  result.json
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters.disk import explained, held, sync, write_whole
from adapters.errors import AdapterError

TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
GENERAL = "general.jsonl"
"""Rows that are trained on beside the owner's, so that nothing is forgotten; there once somebody made them."""
PROGRESS, RESULT, CANCEL = "progress.jsonl", "result.json", "cancel"
TRAINS, CARES = ".trains.lock", ".cares.lock"
"""Held by the process that trains, and by the one that sees to it that a job is trained, judged and taken in."""
LOOK_SECONDS = 0.5
"""How long `claim` waits for a look at the lock by `is_running` to pass, which takes microseconds."""
ADAPTER = "adapter"
IGNORED = -100
"""The label of a token that is not learned."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Row:
    """One example as the model reads it."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    """The answer and what ends it; only these tokens are learned."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    The defaults are those of "LoRA Without Regret" (Schulman et al., 2025) for a small model and a few thousand rows:
    LoRA on all linear layers, a learning rate ten times that of full fine-tuning, small batches.
    """

    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 3e-4
    epochs: int = 1
    batch: int = 4
    """Rows per step and device."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    seed: int = 20261122
    save_every: int = 25
    """Steps from checkpoint to checkpoint."""
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        wrong = {
            f"rank {self.rank} (1 to 256)": not 1 <= self.rank <= 256,
            f"alpha {self.alpha} (above 0)": not 0 < self.alpha <= 4096,
            f"learning rate {self.learning_rate} (above 0, at most 0.1)": not 0 < self.learning_rate <= 0.1,
            f"epochs {self.epochs} (1 to 100)": not 1 <= self.epochs <= 100,
            f"batch {self.batch} (1 to 1024)": not 1 <= self.batch <= 1024,
            f"warmup {self.warmup} (0 to below 1)": not 0 <= self.warmup < 1,
            f"save_every {self.save_every} (1 or more)": self.save_every < 1,
        }
        faults = [name for name, fault in wrong.items() if fault]
        if faults:
            raise AdapterError(f"training cannot be set so: {'; '.join(faults)}.")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained."""

    name: str
    weights: Path
    """A GGUF file, a Hugging Face folder, or the name of a hub model that was fetched already."""
    cache: Path
    """Where weights made ready for training are kept."""
    recipe: Recipe = field(default_factory=Recipe)
    threads: int = 0
    """0 takes the cores there are."""


def write(folder: Path, job: Job, train: Sequence[Row], validation: Sequence[Row]) -> None:
    """Make a job's folder.

    Raises:
        AdapterError: there is no row to train on, or no room.
    """
    if not train:
        raise AdapterError("there is no row to train on.")
    with explained(f"{folder} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder, TRAIN, train)
        write_rows(folder, VALIDATION, validation)
        told = asdict(job) | {"weights": _absolute(job.weights), "cache": str(job.cache.resolve())}
        _write(folder / "job.json", json.dumps(told, indent=1))


def write_rows(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write one file of rows, whole or not at all."""
    lines = (json.dumps([row.prompt, row.completion], separators=(",", ":")) for row in rows)
    with explained(f"{folder / name} cannot be written"):
        _write(folder / name, "".join(f"{line}\n" for line in lines))


def read(folder: Path) -> Job:
    """The job of a folder.

    Raises:
        AdapterError: it holds none, or a damaged one.
    """
    try:
        told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        recipe = told.pop("recipe")
        recipe["targets"] = tuple(recipe["targets"])
        weights, cache = Path(told.pop("weights")), Path(told.pop("cache"))
        return Job(weights=weights, cache=cache, recipe=Recipe(**recipe), **told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{folder} holds no training job that can be read ({error}).") from error


def rows(folder: Path, name: str) -> list[Row]:
    """The rows of a job: `TRAIN`, `GENERAL` or `VALIDATION`."""
    try:
        with (folder / name).open(encoding="utf-8") as file:
            return [Row(tuple(prompt), tuple(completion)) for prompt, completion in map(json.loads, file)]
    except (OSError, ValueError, TypeError) as error:
        raise AdapterError(f"{folder / name} cannot be read ({error}). Start the training anew.") from error


def tell(folder: Path, kind: str, **facts: Any) -> None:
    """Add a line to the progress. A full disk costs the line, not the training."""
    line = json.dumps({"kind": kind, "at": time.time(), **facts})
    try:
        with (folder / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError:
        return


def told(folder: Path) -> Iterator[dict[str, Any]]:
    """The progress so far; a line that was cut off is left out."""
    try:
        lines = (folder / PROGRESS).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            step = json.loads(line)
        except ValueError:
            continue
        if isinstance(step, dict) and "kind" in step:
            yield step


def cancel(folder: Path) -> None:
    """Ask the process that trains to save a checkpoint and stop."""
    with explained(f"{folder} cannot be written"):
        (folder / CANCEL).touch()


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Say that the training is over, once everything else is on disk."""
    _write(folder / RESULT, json.dumps(result, indent=1))


def result(folder: Path) -> dict[str, Any] | None:
    """What came of it; None where it is not over."""
    try:
        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_running(folder: Path) -> bool:
    """Whether a process works on this job now; one that died does not."""
    return any(_is_held(folder / lock) for lock in (TRAINS, CARES))


def claim(folder: Path, lock: str = TRAINS) -> int:
    """Be the process that trains this job, or cares for it, until the descriptor is closed or the process ends.

    Raises:
        AdapterError: another process does.
    """
    descriptor = os.open(folder / lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOOK_SECONDS
    while not held(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            break
        time.sleep(0.005)
    else:
        return descriptor
    raise AdapterError(f"{folder.name} is being trained already. Wait for it, or cancel it.")


def state(folder: Path) -> dict[str, Any]:
    """How far a job is: stage, step, steps, loss, tokens_per_second, seconds_left, and the curve of (step, loss)."""
    now: dict[str, Any] = {"stage": "waiting", "step": 0, "steps": None, "curve": []}
    for line in told(folder):
        kind = line["kind"]
        if kind == "stage":
            now["stage"] = line["label"]
        elif kind == "step":
            now |= {key: value for key, value in line.items() if key not in ("kind", "at")}
            now["curve"] = [point for point in now["curve"] if point[0] < line["step"]]
            now["curve"].append((line["step"], line["loss"]))
        elif kind in ("general", "gate"):
            now["stage"], now["asking"] = kind, (line["done"], line["total"], line["label"])
        elif kind in ("trained", "done", "failed", "cancelled"):
            now["stage"], now["reason"] = kind, line.get("reason", "")
        elif kind in ("warning", "speed"):
            now[kind] = line
    return now


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        return not held(descriptor)
    finally:
        os.close(descriptor)


def _absolute(path: Path) -> str:
    """A hub model's name is no path and stays as it is."""
    return str(path.resolve() if path.exists() else path)


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode(), path.with_name(f".{path.name}.part"))
    sync(path.parent)
