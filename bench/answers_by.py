"""Which serves the embedded model at level rag, quoting or generating: `python -m bench.answers_by`.

Both ways over the same calibrate rows by `evaluate`; what wins is written into the shipped calibration
(`rag_answers_by`). No report row is looked at.
"""

from __future__ import annotations

from rich.progress import track

from assistant.evaluation.evaluate import EvaluationReport, evaluate, summary
from bench import sets
from bench.homes import NAMES, open_home, open_model, rows_of

ROWS = 30
SHOWN = ("n", "correct", "contains", "wrong_accepted", "token_f1", "words", "tokens_in", "tokens_out", "seconds_p50")


def main() -> None:
    """Ask, and print a line for each set and way."""
    model = open_model()
    print("| set | level rag by | " + " | ".join(SHOWN) + " |", "|" + " --- |" * (len(SHOWN) + 2), sep="\n")
    for name in NAMES:
        rows = sets.draw([row for row in rows_of(name, "calibrate") if row.expect == "answer"], ROWS)
        for way in ("quoting", "generating"):
            with open_home(name, model, way, answer_tokens=96) as rungs:
                *_, report = track(evaluate(rungs, rows, ["rag"]), f"{name}: {way}", len(rows) + 1, transient=True)
            assert isinstance(report, EvaluationReport)
            told = summary(report.results)
            print(f"| {name} | {way} | " + " | ".join(str(told[key]) for key in SHOWN) + " |", flush=True)
    model.close()


if __name__ == "__main__":
    main()
