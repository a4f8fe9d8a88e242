"""The commands of examples: what people corrected, what was made from documents, and the training set as files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import BadTrainingSet
from adapters.types import PARTS, Example
from knowledge.loaders.pairs import CsvLoader
from ui.commands.steps import Arguments, Command, Steps, decided_by

if TYPE_CHECKING:
    from assistant.build import Rungs
    from assistant.evaluation.golden import GoldenRow


def examples_of(rungs: Rungs, arguments: Arguments) -> tuple[Example, ...]:
    """The rows that a training is given: of a file (who names the file vouches for it), of approved corrections.

    Raises:
        AdapterError, KnowledgeError: the file cannot be used.
    """
    from adapters.reading import Unsaid, example_of, from_pairs, read_rows
    from assistant.prompts import DECLINE

    rows: list[Example] = []
    if arguments.get("data"):
        path, by = Path(arguments["data"]), str(arguments.get("by") or "owner")
        unsaid = Unsaid(DECLINE, path.name, approved_by=by, consent=True)
        is_table = path.suffix.lower() in CsvLoader.suffixes
        rows += from_pairs(_pairs(path), unsaid) if is_table else read_rows(path, unsaid)
    if arguments.get("corrections"):
        rows += [example_of(row, row["id"], Unsaid(DECLINE)) for row in rungs.corrections.rows()]
    return tuple(rows)


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    document = CsvLoader().load(path)
    if not document.pairs:
        raise BadTrainingSet(f"training set {path.name} has no columns `question` and `answer`.")
    for section in document.sections:
        yield section.heading[-1], section.text


def golden_of(arguments: Arguments) -> list[GoldenRow]:
    """The golden set that is named, or none."""
    from assistant.evaluation.golden import read_golden

    return list(read_golden(Path(arguments["golden"]))) if arguments.get("golden") else []


def examples_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """What people corrected, the latest first."""
    found = rungs.corrections.find(arguments.get("state"))
    yield {"result": {"counts": rungs.corrections.counts(), "corrections": [asdict(one) for one in found]}}


def examples_correct(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Say what should have been answered, or that the answer was right."""
    from assistant.prompts import DECLINE

    text = DECLINE if arguments.get("decline") else arguments.get("text")
    kept = rungs.corrections.add(
        str(arguments["trace"]),
        None if text is None else str(text),
        decided_by(arguments),
        source="command line",
        consent=bool(arguments.get("consent")),
        approve=bool(arguments.get("approve")),
    )
    yield {"result": asdict(kept)}


def examples_review(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Approve or reject a correction."""
    consent = True if arguments.get("consent") else None
    state = "approved" if arguments["approve"] else "rejected"
    done = rungs.corrections.review(str(arguments["id"]), state, decided_by(arguments), consent=consent)  # type: ignore[arg-type]
    yield {"result": asdict(done)}


def examples_generate(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make rows from the documents, for a person to read before they are trained on."""
    from adapters.generate import Recipe, from_documents, generate
    from adapters.rendering import write_jsonl
    from adapters.types import Passage
    from assistant.prompts import DECLINE

    passages = [
        Passage(p.text, p.heading.split(" > ")[-1] or p.title, f"{p.source}/{p.document}")
        for p in rungs.store.passages()
    ]
    asked = from_documents(passages)[: arguments.get("limit")]
    rows = generate(passages, asked, Recipe(DECLINE), rungs.store.embedder.embed)
    if not rows:
        raise BadTrainingSet("no question could be made from what is known. Add documents with headings first.")
    out = Path(str(arguments["out"]))
    yield {"result": {"file": str(out), "rows": write_jsonl(out, map(_as_row, rows)), "questions": len(asked)}}


def examples_export(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Write the training set as files for another trainer: a folder with a file for each part."""
    from adapters.facts import as_pairs
    from adapters.rendering import preference_rows, sft_rows, write_jsonl
    from assistant.adapting import planning

    data = planning.training_set(rungs, examples_of(rungs, arguments), golden_of(arguments))
    folder, shape = Path(str(arguments["out"])), str(arguments.get("shape") or "sft")
    written: dict[str, int] = {}
    for part in PARTS:
        make = {"rows": lambda rows, _: map(_as_row, rows), "sft": sft_rows, "preference": preference_rows}[shape]
        written[part] = write_jsonl(folder / f"{part}.jsonl", make(data.part(part), planning.render))
    if data.facts:
        written["facts"] = write_jsonl(folder / "facts.jsonl", as_pairs(data.facts))
    left_out = {reason: len(ids) for reason, ids in data.left_out.items() if ids}
    yield {"result": {"folder": str(folder), "rows": written, "left_out": left_out}}


def _as_row(example: Example) -> Mapping[str, Any]:
    """A row as `adapters.reading` reads it, without the fields that say nothing."""
    return dict(_said(asdict(example)))


def _said(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if value not in ("", None, (), False) and not (name == "consent" and not fields["approved_by"]):
            yield name, value


COMMANDS: Mapping[str, Command] = {
    "examples-list": examples_list,
    "examples-correct": examples_correct,
    "examples-review": examples_review,
    "examples-generate": examples_generate,
    "examples-export": examples_export,
}
