"""The risk-coverage curve of the answers from documents, out of `.bench/quality.jsonl`: `python -m bench.curve`.

Level rag alone, its answers sorted by confidence: for every share of questions answered, the share of wrong ones among
them. The cascade's operating point and naive RAG stand beside it. Draws `bench/risk-coverage.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.quality import read

PICTURE = Path(__file__).parent / "risk-coverage.png"


def curve(records: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk, surest answers first; shape (n,) each."""
    ranked = sorted(records, key=lambda record: -(record["draft_confidence"] or 0.0))
    wrong = np.cumsum([not record["correct"] for record in ranked])
    answered = np.arange(1, len(ranked) + 1)
    return answered / len(ranked), wrong / answered


def main() -> None:
    """Draw, and print the area under the curve."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = [record for record in read() if record["block"] != "written out"]
    alone = [record for record in records if record["level"] == "rag" and record["answered"]]
    coverage, risk = curve(alone)
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    axes.plot(coverage, risk, label=f"level rag by confidence (area {float(np.trapezoid(risk, coverage)):.3f})")
    for level, name in (("auto", "cascade at its operating point"), ("naive", "naive RAG")):
        told = [record for record in records if record["level"] == level]
        given = [record for record in told if record["answered"]]
        if given:
            share, wrong = len(given) / len(told), sum(not record["correct"] for record in given) / len(given)
            axes.plot([share], [wrong], "o", label=f"{name} ({share:.0%} answered, {wrong:.0%} of them wrong)")
    axes.set(
        xlabel="share of all questions answered", ylabel="share of wrong answers among them", xlim=(0, 1), ylim=(0, 1)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=130)
    print(
        f"{PICTURE.name}: {len(alone)} answers, area under the risk-coverage curve {np.trapezoid(risk, coverage):.3f}"
    )


if __name__ == "__main__":
    main()
