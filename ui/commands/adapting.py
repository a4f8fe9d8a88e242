"""The commands of adaptation: train, and what a person does with adapters. Like those of `table.py`."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from adapters.card import AdapterCard, card_json
from adapters.errors import AdapterError
from knowledge.types import Progress
from ui.commands.examples import examples_of, golden_of
from ui.commands.steps import Arguments, Command, Steps, decided_by, progress_step

if TYPE_CHECKING:
    from adapters.job import Recipe
    from adapters.registry import Registry
    from assistant.adapting.planning import Plan
    from assistant.build import Rungs

QUICK_LOOK_SECONDS = 20.0
"""For so long the speed is measured before a training of which nobody knows how long it would take."""


def train(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Train an adapter on rows of examples: look at the rows, measure the speed, train, or go on with a training."""
    from assistant.adapting import jobs, planning

    home = rungs.settings.home
    if arguments.get("resume"):
        folder = jobs.unfinished(home, str(arguments["name"]))
        yield {"note": f"going on with {folder.name}"}
    else:
        planned = planning.plan(
            rungs, examples_of(rungs, arguments), str(arguments["name"]), _recipe(arguments), golden_of(arguments)
        )
        folder = planned.folder
        if arguments.get("preview"):
            yield {"result": preview_document(planned)}
            jobs.discard(folder)
            return
        yield from ({"note": warning} for warning in planned.preview.warnings)
        if arguments.get("dry_run") or planned.seconds is None:
            seconds = float(arguments.get("dry_run") or QUICK_LOOK_SECONDS)
            for step in jobs.dry_run(folder, seconds, cancel):
                if isinstance(step, Progress):
                    yield progress_step(step)
                elif arguments.get("dry_run"):
                    yield {"result": estimate_document(planned, step)}
                    jobs.discard(folder)
                    return
                else:
                    yield {"note": _estimate_in_words(planned.tokens / step["tokens_per_second"])}
        else:
            yield {"note": _estimate_in_words(planned.seconds)}
    jobs.start(folder)
    with closing(cast("Generator[Progress, None, None]", jobs.follow(folder, cancel))) as steps:
        for progress in steps:
            yield progress_step(progress)
    yield {"result": jobs.outcome(folder)}


def preview_document(planned: Plan) -> dict[str, Any]:
    """The JSON document of `rungs train --preview`."""
    seconds = planned.seconds
    return asdict(planned.preview) | {"tokens": planned.tokens, "seconds": None if seconds is None else round(seconds)}


def estimate_document(planned: Plan, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON document of `rungs train --dry-run`."""
    seconds = planned.tokens / measured["tokens_per_second"]
    return {**measured, "tokens": planned.tokens, "seconds": round(seconds), "warnings": planned.preview.warnings}


def _estimate_in_words(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), max(1, round(seconds % 3600 / 60))
    told = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return f"this will take about {told}, longer while questions are answered. Ctrl-C saves and stops."


def _recipe(arguments: Arguments) -> Recipe:
    from adapters.job import Recipe

    given = {name: arguments.get(name) for name in ("rank", "alpha", "learning_rate", "epochs", "batch", "seed")}
    return Recipe(**{name: value for name, value in given.items() if value is not None})


def adapters_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Every revision of every adapter, and which are live."""
    listing = rungs.registry.list(arguments.get("name"))
    yield {
        "result": {
            "adapters": [_summary(card) for card in listing.cards],
            "sites": dict(rungs.assistant.current.sites),
            "problems": list(listing.problems),
        }
    }


def adapters_show(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """One revision's card, with its gate report and history."""
    registry = rungs.registry
    yield {"result": card_json(registry.show(*_named(registry, arguments)))}


def adapters_promote(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make a revision live, for every question from now on."""
    registry = rungs.registry
    name, revision = _named(registry, arguments, newest=True)
    card = registry.promote(name, revision, decided_by(arguments), arguments.get("reason"))
    _told_to_webhooks(rungs, card)
    yield from _taken_up(rungs, card)


def _told_to_webhooks(rungs: Rungs, card: AdapterCard) -> None:
    """Into the outbox, from whichever process: the one that serves delivers it."""
    from ui.api.webhooks import Webhooks

    about = {"name": card.name, "revision": card.revision, "promoted_by": card.promoted_by}
    Webhooks(rungs.engine).emit("adapter_promoted", about)


def adapters_rollback(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make the revision live that was live before."""
    card = rungs.registry.rollback(str(arguments["name"]), decided_by(arguments), arguments.get("reason"))
    yield from _taken_up(rungs, card)


def adapters_retire(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Take a revision out of service."""
    registry = rungs.registry
    card = registry.retire(*_named(registry, arguments), decided_by(arguments), arguments.get("reason"))
    yield from _taken_up(rungs, card)


def adapters_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Delete a revision that is not live."""
    name, revision = str(arguments["name"]), str(arguments["revision"])
    rungs.registry.remove(name, revision)
    yield {"result": {"name": name, "revision": revision, "removed": True}}


def adapters_export(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Write a revision as one file, or as the PEFT folder that vLLM and others load."""
    registry = rungs.registry
    name, revision = _named(registry, arguments)
    out = Path(str(arguments["out"]))
    if arguments.get("peft"):
        size = _write_folder(registry.load(name, revision).folder, out)
    else:
        size = registry.export_file(name, revision, out).stat().st_size
    yield {"result": {"name": name, "revision": revision, "file": str(out), "bytes": size}}


def _write_folder(adapter: Path, out: Path) -> int:
    """The two files of PEFT in a new folder; how many bytes they have.

    Raises:
        AdapterError: the folder is there already.
    """
    from adapters.export import CONFIG, TENSORS

    if out.exists():
        raise AdapterError(f"{out} is there already. Name a new folder.")
    out.mkdir(parents=True)
    for name in (CONFIG, TENSORS):
        shutil.copyfile(adapter / name, out / name)
    return sum((out / name).stat().st_size for name in (CONFIG, TENSORS))


def adapters_import(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Take in a file that another deployment exported, or a PEFT folder, as a candidate."""
    path, name = Path(str(arguments["path"])), arguments.get("name")
    if path.is_dir():
        card = rungs.registry.adopt(path, str(name or path.name))
    else:
        card = rungs.registry.import_file(path, name)
    yield {"result": _summary(card)}


def adapters_gate(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Let the gate look at a revision that was not trained here, or once more, on golden questions."""
    from adapters.card import GateReport
    from adapters.dataset import nothing
    from adapters.gate_questions import Budget, questions
    from assistant.adapting.judging import gated
    from assistant.adapting.planning import sentences
    from assistant.gating import golden_questions

    registry = rungs.registry
    card = registry.show(*_named(registry, arguments, newest=True))
    golden = tuple(golden_questions(golden_of(arguments), lambda question: sentences(rungs, question)))
    asked = questions(nothing(), golden, Budget.of(rungs.settings.gate_questions))
    with closing(gated(rungs.settings, registry, card, asked)) as steps:
        for step in steps:
            if isinstance(step, GateReport):
                card = registry.record_gate(card.name, card.revision, step)
                yield {"result": {**_summary(card), "report": asdict(step)}}
            elif cancel.is_set():
                return
            else:
                yield progress_step(Progress(step.done, step.total, f"gate questions: {step.label}"))


def adapters_compare(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Revisions side by side on one question."""
    from assistant.adapting.comparing import BASE, compare

    registry = rungs.registry
    sides: list[tuple[str, str] | None] = []
    for word in map(str, arguments["sides"]):
        name, _, revision = word.partition("@")
        sides.append(None if word == BASE else _named(registry, {"name": name, "revision": revision}))
    said = []
    for one in compare(rungs, sides, str(arguments["question"])):
        said.append(asdict(one))
        yield progress_step(Progress(len(said), len(sides), one.side))
        if cancel.is_set():
            return
    yield {"result": {"question": arguments["question"], "answers": said}}


COMMANDS: Mapping[str, Command] = {
    "train": train,
    "adapters-list": adapters_list,
    "adapters-show": adapters_show,
    "adapters-promote": adapters_promote,
    "adapters-rollback": adapters_rollback,
    "adapters-retire": adapters_retire,
    "adapters-remove": adapters_remove,
    "adapters-export": adapters_export,
    "adapters-import": adapters_import,
    "adapters-gate": adapters_gate,
    "adapters-compare": adapters_compare,
}


def _taken_up(rungs: Rungs, card: AdapterCard) -> Steps:
    """Let the deployment serve what was decided; the decision stands even where it cannot."""
    import time

    started = time.monotonic()
    rungs.renew()
    seconds = round(time.monotonic() - started, 3)
    crew = rungs.assistant.current
    served = [
        versions
        for one in crew.assistants.values()
        if (versions := one.versions())["adapter"] == f"{card.name}@{card.revision}"
    ]
    fitted = crew.calibration.of("lora", served[0]) if served else None
    usable = fitted is not None and fitted.threshold is not None if served else None
    yield {"result": {**_summary(card), "seconds": seconds, "calibrated": usable}}


def _named(registry: Registry, arguments: Arguments, newest: bool = False) -> tuple[str, str]:
    """Name and revision; where none is given, the live one, or the newest candidate if there is one or it is wanted."""
    name, revision = str(arguments["name"]), arguments.get("revision")
    if revision:
        return name, str(revision)
    cards = registry.list(name).cards
    candidates = [card for card in cards if card.stage == "candidate"]
    live = [card for card in cards if card.stage == "live"]
    chosen = (candidates if newest else live or candidates or list(cards))[-1:]
    if not chosen:
        what = "candidate" if newest and cards else "adapter"
        raise AdapterError(f"there is no {what} called {name}. `rungs adapters list` shows what there is.")
    return name, chosen[0].revision


def _summary(card: AdapterCard) -> dict[str, Any]:
    gate = card.gate or card.gate_elsewhere
    return {
        "name": card.name,
        "revision": card.revision,
        "stage": card.stage,
        "created_at": card.created_at,
        "rank": card.settings.rank,
        "loss_first": card.loss_first,
        "loss_last": card.loss_last,
        "gate": (gate.verdict if card.gate else f"{gate.verdict} (elsewhere)") if gate else None,
        "promoted_by": card.promoted_by,
        "reason": card.reason,
    }
