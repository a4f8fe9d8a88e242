"""A trained job into the registry, and through the gate: `python -m assistant.adapting.judging FOLDER`.

The candidate is taken in first, so that nothing is lost where the gate is stopped; going on judges it anew, and what
the base model and the live adapter said is kept. Its own process, started by `process.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adapters import gate, gate_samples, job
from adapters.card import AdapterCard, DataSource, GateReport, Lineage, TrainingSettings
from adapters.gate_asking import Kept
from adapters.gate_types import GateProgress, GateQuestion, Side
from adapters.job import Job
from adapters.registry import Registry
from assistant.adapting import general
from assistant.adapting.jobs import GATES, PLAN, remember_speed
from assistant.adapting.planning import TRAINING_PARTS
from assistant.adapting.questions import read_questions
from assistant.adapting.stages import run_stage
from assistant.gating import Answering, judge_by
from assistant.serving import registry_of
from assistant.settings import Settings

CANDIDATE, LIVE = "candidate", "live"


def judge(folder: Path) -> None:
    """Take in what was trained, and let the gate look at it.

    Raises:
        AdapterError: the registry refuses it, or there is no room.
    """
    told = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    settings, the, result = Settings(**told["settings"]), job.read(folder), job.result(folder) or {}
    remember_speed(settings.home, result["tokens_per_second"])
    job.tell(folder, "stage", label="taking it in")
    registry = registry_of(settings)
    kept = len(job.rows(folder, job.GENERAL)) if (folder / job.GENERAL).exists() else 0
    told["sources"] += [{"name": general.SOURCE, "rows": kept, "licence": "its own"}] if kept else []
    added = registry.add(folder / job.ADAPTER, _card(the, told, result))
    report = _report(folder, settings, registry, added)
    if report is not None:
        registry.record_gate(added.name, added.revision, report)
    elif (folder / job.CANCEL).exists():
        job.tell(folder, "cancelled", reason="cancelled")
        return
    job.tell(folder, "done", adapter=added.name, revision=added.revision, gate=asdict(report) if report else None)


def _report(folder: Path, settings: Settings, registry: Registry, card: AdapterCard) -> GateReport | None:
    """What the gate found; None where there is nothing to ask, or it was stopped."""
    questions = read_questions(folder)
    if not questions:
        return None
    job.tell(folder, "gate", done=0, total=1, label="loading the model")
    with closing(gated(settings, registry, card, questions)) as steps:
        for step in steps:
            if isinstance(step, GateReport):
                return step
            job.tell(folder, "gate", done=step.done, total=step.total, label=step.label)
            if (folder / job.CANCEL).exists():
                return None
    return None


def gated(
    settings: Settings, registry: Registry, card: AdapterCard, questions: Sequence[GateQuestion]
) -> Generator[GateProgress | GateReport, None, None]:
    """Let the gate ask a revision, the live one and the base model, on an engine of their own; last its report.

    Raises:
        AdapterError: a revision cannot be loaded, or there is nothing to ask.
    """
    from assistant.models import make_model
    from knowledge.embedding import make_embedder

    folders = {CANDIDATE: registry.load(card.name, card.revision).folder}
    versions: dict[Side, str] = {"candidate": card.revision}
    live = registry.live().get(card.name)
    if live not in (None, card.revision):
        folders[LIVE] = registry.load(card.name, live).folder
        versions["live"] = str(live)
    with closing(make_model(settings, folders)) as model:
        answer = Answering(model, CANDIDATE, LIVE if LIVE in folders else None, settings.answer_tokens)
        kept = Kept(settings.home / GATES, answer.keys(versions))
        judged = judge_by(make_embedder(settings.embedder, settings.home / "models"))
        with closing(gate.run(questions, answer, judged, live=LIVE in folders, kept=kept)) as steps:
            for step in steps:
                if isinstance(step, GateProgress):
                    yield step
                else:
                    gate_samples.write(samples_path(settings.home, card.name, card.revision), step.samples)
                    yield step.report


def samples_path(home: Path, name: str, revision: str) -> Path:
    """Where the sample answers of a gate lie, side by side, as JSONL."""
    return home / GATES / f"{name}-{revision}.samples.jsonl"


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
    sys.exit(run_stage(judge))
