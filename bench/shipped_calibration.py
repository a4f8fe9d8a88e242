"""Fit the calibration file that Rungs ships for the embedded model: `python -m bench.shipped_calibration`.

The probe for questions that need no document is fitted on train rows; confidence and thresholds on calibrate rows of
every set and on the calibrate half of the handbook's golden set. No report row is looked at.
"""

from __future__ import annotations

import numpy as np
from rich.progress import track

from assistant.confidence import SHIPPED, Calibration, NeedsNoDocument, to_json
from assistant.evaluation.calibration import fit
from assistant.evaluation.evaluate import EvaluationReport, Result, evaluate
from assistant.evaluation.golden import GoldenRow
from assistant.types import Level
from bench import sets
from bench.homes import HOMES, NAMES, open_home, open_model, rows_of
from knowledge.embedding import make_embedder
from knowledge.types import Embedder

MAX_WRONG: dict[Level, float] = {"prompting": 0.2, "rag": 0.45, "lora": 0.45}
"""Bounds of the shipped operating point; RESULTS.md says why that of level rag is so wide."""
FOREIGN_ROWS = 100
SMALL_TALK_ROWS = 60
GENERAL_ROWS = 80
ANSWER_TOKENS = 96
"""Enough to be longer than the 60 words that a right answer may have; what follows would only cost time."""
PROMPTING_ROWS = 24
"""Rows per set that also go through level prompting, which writes whole answers here and is slow."""


def fit_probe(embedder: Embedder) -> NeedsNoDocument:
    """The linear probe on question embeddings, on train rows only (L2 logistic regression)."""
    from sklearn.linear_model import LogisticRegression

    clinc = sets.jsonl(sets.DATA / "clinc-oos" / "train.jsonl")
    alone = [row["question"] for row in clinc if row["intent"] in sets.NEEDS_NO_DOCUMENT]
    others = [row["question"] for row in clinc if row["intent"] not in sets.NEEDS_NO_DOCUMENT]
    bank = [row["question"] for row in sets.jsonl(sets.DATA / "banking77" / "train.jsonl")]
    documents = [row.question for name in ("tidb-docs", "arduino-help") for row in sets.docs_rows(name, "train")]  # type: ignore[arg-type]
    squad = [row.question for row in sets.squad_rows("train")]
    needs = [*sets.draw(others, 1500), *sets.draw(bank, 700), *documents, *sets.draw(squad, 500)]
    alone = sets.draw(alone, 1500)
    model = LogisticRegression(C=3, max_iter=2000, class_weight="balanced")
    model.fit(embedder.embed([*alone, *needs]), np.array([1] * len(alone) + [0] * len(needs)))
    weights = tuple(round(float(weight), 4) for weight in model.coef_[0])
    return NeedsNoDocument(embedder.fingerprint, weights, round(float(model.intercept_[0]), 4))


def calibrate_rows(name: str) -> list[GoldenRow]:
    """The calibrate rows of a set, with its share of foreign questions, small talk and general knowledge."""
    share = NAMES.index(name)
    foreign = sets.foreign_rows("calibrate", FOREIGN_ROWS)[share :: len(NAMES)]
    talk = sets.small_talk_rows("calibrate", SMALL_TALK_ROWS)[share :: len(NAMES)]
    general = sets.general_rows("calibrate", GENERAL_ROWS)[share :: len(NAMES)]
    return [*rows_of(name, "calibrate"), *foreign, *talk, *general]


def collect(probe: NeedsNoDocument) -> tuple[list[Result], dict[str, str]]:
    """Every calibrate row through levels rag and lora, and a share of them through level prompting."""
    model, results, versions = open_model(), [], {}
    for name in NAMES:
        before = Calibration(needs_no_document=probe)
        with open_home(name, model, "quoting", before, answer_tokens=ANSWER_TOKENS) as rungs:
            own, rows = rows_of(name, "calibrate"), calibrate_rows(name)
            few = [*sets.draw(own, len(own) if name == "demo" else PROMPTING_ROWS), *rows[len(own) :]]
            for levels, chosen in ((["rag"], rows), (["lora"], rows), (["prompting"], few)):
                for step in track(evaluate(rungs, chosen, levels), f"{name}: {levels[0]}", total=len(chosen) + 1):
                    results += step.results if isinstance(step, EvaluationReport) else ()
            versions = dict(rungs.assistant.versions())
    return results, versions


def main() -> None:
    """Fit and write the file."""
    probe = fit_probe(make_embedder("minilm", HOMES / "models"))
    results, versions = collect(probe)
    sources = "squad2, tidb-docs, arduino-help, clinc-oos, banking77 and nq-open"
    made_from = f"calibrate rows of {sources}, half of the handbook's golden set"
    before = Calibration(needs_no_document=probe)
    report = fit(results, before, versions, MAX_WRONG, made_from)
    SHIPPED.mkdir(exist_ok=True)
    (SHIPPED / "smollm2-135m-instruct.json").write_text(to_json(report.calibration), encoding="utf-8")
    for level, fitted in report.calibration.levels.items():
        print(level, fitted.threshold, dict(fitted.facts))


if __name__ == "__main__":
    main()
