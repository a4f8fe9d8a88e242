"""What the adapter that ships is worth: `python -m bench.bundled`.

The same evidence, the same prompt and the same weights, with and without the adapter, on report rows of articles that
it never saw; beside them level rag, which quotes. Token probabilities are judged as drafts come: single measures of
them, and all of them weighed as the product weighs its signals, by a fit on calibrate rows. Forty minutes on two
cores with tests beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from rich.progress import track

from adapters.facts import invented
from assistant import prompts, signals
from assistant.build import Rungs
from assistant.confidence import LevelConfidence
from assistant.evaluation.calibration import auroc, logistic
from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import grade
from assistant.levels.rag import declines, shown_to_a_model
from assistant.types import Answer, Completed, Question, Token
from bench import sets
from bench.homes import HOMES, open_home, open_model

Record = Mapping[str, Any]
RESULTS = HOMES / "bundled.jsonl"
ANSWERABLE, TWINS, FOREIGN = 80, 40, 60
EVIDENCE_TOKENS, ANSWER_TOKENS = 220, 96
GIVEN_UP = 0.10
"""Share of answerable questions that a threshold on the probabilities may decline."""
SIDES = ("base", "lora", "quoting")
SPLITS: Mapping[sets.Split, Sequence[str]] = {"calibrate": ("base", "lora"), "report": SIDES}
MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "least": min,
    "mean": fmean,
    "lowest tenth": lambda given: float(np.quantile(given, 0.1)),
    "sum": sum,
}


def rows(split: sets.Split) -> Iterator[tuple[str, GoldenRow]]:
    """(kind, row): answerable, twin (adversarial, its article is there) or foreign (its document is not)."""
    own = sets.squad_rows(split)
    yield from (("answerable", row) for row in sets.draw([r for r in own if r.expect == "answer"], ANSWERABLE))
    yield from (("twin", row) for row in sets.draw([r for r in own if r.expect == "decline"], TWINS))
    yield from (("foreign", row) for row in sets.foreign_rows(split, FOREIGN // 2))
    yield from (("foreign", row) for row in sets.docs_rows("arduino-help", split)[: FOREIGN // 2])


def measure() -> Iterator[dict[str, Any]]:
    """What each side says to each row."""
    model = open_model()
    (adapter,) = model.adapters
    with open_home("squad2", model, "quoting") as rungs:
        for split, sides in SPLITS.items():
            for kind, row in track(list(rows(split)), f"asking {split} rows"):
                for side in sides:
                    told = _asked(rungs, row, side, adapter)
                    yield {"split": split, "kind": kind, "id": row.id, "side": side, **told}
    model.close()


def _asked(rungs: Rungs, row: GoldenRow, side: str, adapter: str) -> dict[str, Any]:
    question = Question(row.question, f"{row.id}-{side}", (), "bench", level="rag")
    tokens: list[Token] = []
    made_up = False
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
        made_up = bool(invented(text, [message.content for message in messages]))
    graded = grade(row, Answer(text, "answered", "lora"), rungs.store.embedder)
    declined = declines(text)
    right = graded.correct and not declined and row.expect == "answer"
    told = [token.logprob for token in tokens if token.logprob is not None]
    weighed = signals.from_tokens(tokens)
    return {
        "text": text, "right": right, "f1": graded.token_f1, "declined": declined, "logprobs": told, "signals": weighed,
        "held_back": made_up and not declined,
    }  # fmt: skip


def report(records: Sequence[Record]) -> Iterator[str]:
    """The figures as Markdown."""
    for side in SIDES:
        own = [r for r in records if r["side"] == side and r["split"] == "report"]
        answerable = [r for r in own if r["kind"] == "answerable"]
        said = [r for r in answerable if not r["declined"]]
        yield (
            f"- {side}: right {sum(r['right'] for r in answerable)} of {len(answerable)}, declined in words "
            f"{len(answerable) - len(said)}; token F1 {fmean(r['f1'] for r in said):.2f}; words "
            f"{fmean(len(r['text'].split()) for r in said):.0f}"
        )
        if side != "quoting":
            held = [r for r in records if r["side"] == side and r["held_back"]]
            yield f"  - held back for what nobody told it: {len(held)}, {sum(r['right'] for r in held)} of them right"
            yield from (f"  - {name}: {_ranks(own, _by(of))}" for name, of in MEASURES.items())
            fitted = _fitted([r for r in records if r["side"] == side and r["split"] == "calibrate"])
            yield f"  - all of them weighed: {_ranks(own, lambda r, of=fitted: of.confidence(r['signals']))}"


def _by(of: Callable[[Sequence[float]], float]) -> Callable[[Record], float]:
    return lambda record: of(record["logprobs"])


def _fitted(records: Sequence[Record]) -> LevelConfidence:
    """The product's own kind of confidence, on what the token probabilities tell; declined drafts are no drafts."""
    said = [record for record in records if record["logprobs"] and not record["declined"]]
    names = list(said[0]["signals"])
    table = np.array([[record["signals"][name] for name in names] for record in said])
    return logistic(table, np.array([bool(record["right"]) for record in said]), names)


def _ranks(own: Sequence[Record], of: Callable[[Record], float]) -> str:
    """How well a measure of the probabilities tells right drafts from wrong ones, and what it declines."""

    def sure(record: Record) -> float:
        return -1e9 if record["declined"] or not record["logprobs"] else of(record)

    def area(chosen: Sequence[Record]) -> float:
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
