"""What the adapter that ships is worth: `python -m bench.bundled`.

The same evidence, the same prompt and the same weights, with and without the adapter, on report rows of articles that
it never saw; beside them level rag, which quotes. Token probabilities are judged alone, as drafts come. About ten
minutes on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from rich.progress import track

from assistant import prompts
from assistant.build import Rungs
from assistant.evaluation.calibration import auroc
from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import grade
from assistant.levels.rag import declines, shown_to_a_model
from assistant.types import Answer, Completed, Question
from bench import sets
from bench.homes import HOMES, open_home, open_model

RESULTS = HOMES / "bundled.jsonl"
ANSWERABLE, TWINS, FOREIGN = 80, 40, 60
EVIDENCE_TOKENS, ANSWER_TOKENS = 220, 96
GIVEN_UP = 0.10
"""Share of answerable questions that a threshold on the probabilities may decline."""
SIDES = ("base", "lora", "quoting")
MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "least": min,
    "mean": fmean,
    "lowest tenth": lambda given: float(np.quantile(given, 0.1)),
    "sum": sum,
}


def rows() -> Iterator[tuple[str, GoldenRow]]:
    """(kind, row): answerable, twin (adversarial, its article is there) or foreign (its document is not)."""
    report = sets.squad_rows("report")
    yield from (("answerable", row) for row in sets.draw([r for r in report if r.expect == "answer"], ANSWERABLE))
    yield from (("twin", row) for row in sets.draw([r for r in report if r.expect == "decline"], TWINS))
    yield from (("foreign", row) for row in sets.foreign_rows("report", FOREIGN // 2))
    yield from (("foreign", row) for row in sets.docs_rows("arduino-help", "report")[: FOREIGN // 2])


def measure() -> Iterator[dict[str, Any]]:
    """What each side says to each row."""
    model = open_model()
    (adapter,) = model.adapters
    with open_home("squad2", model, "quoting") as rungs:
        for kind, row in track(list(rows()), "asking"):
            for side in SIDES:
                yield {"kind": kind, "id": row.id, "side": side, **_asked(rungs, row, side, adapter)}
    model.close()


def _asked(rungs: Rungs, row: GoldenRow, side: str, adapter: str) -> dict[str, Any]:
    question = Question(row.question, f"{row.id}-{side}", (), "bench", level="rag")
    told: list[float] = []
    if side == "quoting":
        text = rungs.assistant.ask(question).answer.text
    else:
        shown = shown_to_a_model(rungs.assistant.find(question), rungs.model, EVIDENCE_TOKENS)
        notes = [(prompts.address_of(sentence), sentence.text) for sentence in shown]
        messages = prompts.from_notes(question, notes, "a1b2c3")
        stream = rungs.model.stream(
            messages, max_tokens=ANSWER_TOKENS, adapter=adapter if side == "lora" else None, conversation=row.id + side
        )
        tokens = [item for item in stream if not isinstance(item, Completed)]
        text = "".join(token.text for token in tokens).strip()
        told = [token.logprob for token in tokens if token.logprob is not None]
    graded = grade(row, Answer(text, "answered", "lora"), rungs.store.embedder)
    declined = declines(text)
    right = graded.correct and not declined and row.expect == "answer"
    return {"text": text, "right": right, "f1": graded.token_f1, "declined": declined, "logprobs": told}


def report(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The figures as Markdown."""
    for side in SIDES:
        own = [r for r in records if r["side"] == side]
        answerable = [r for r in own if r["kind"] == "answerable"]
        said = [r for r in answerable if not r["declined"]]
        yield (
            f"- {side}: right {sum(r['right'] for r in answerable)} of {len(answerable)}, declined in words "
            f"{len(answerable) - len(said)}; token F1 {fmean(r['f1'] for r in said):.2f}; words "
            f"{fmean(len(r['text'].split()) for r in said):.0f}"
        )
        if side != "quoting":
            yield from (f"  - {name}: {_ranks(own, of)}" for name, of in MEASURES.items())


def _ranks(own: Sequence[Mapping[str, Any]], of: Callable[[Sequence[float]], float]) -> str:
    """How well a measure of the probabilities tells right drafts from wrong ones, and what it declines."""

    def sure(record: Mapping[str, Any]) -> float:
        return -1e9 if record["declined"] or not record["logprobs"] else of(record["logprobs"])

    def area(chosen: Sequence[Mapping[str, Any]]) -> float:
        return auroc(np.array([sure(r) for r in chosen]), np.array([bool(r["right"]) for r in chosen]))

    answerable = [r for r in own if r["kind"] == "answerable"]
    limit = sorted(sure(r) for r in answerable)[int(GIVEN_UP * len(answerable))]
    shares = {k: fmean(sure(r) < limit for r in own if r["kind"] == k) for k in ("answerable", "foreign", "twin")}
    told = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
    return f"AUROC {area(own):.2f} of all drafts, {area(answerable):.2f} of answerable ones; declined {told}"


def main() -> None:
    """Ask, keep what was said, print."""
    records = list(measure())
    RESULTS.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    print("\n".join(report(records)))


if __name__ == "__main__":
    main()
