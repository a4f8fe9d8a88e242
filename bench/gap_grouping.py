"""How well questions are grouped into gaps, by the least cosine of a group: `python -m bench.gap_grouping`.

Questions of banking77 and clinc-oos (dev), whose intents are known; a pair is right where both have one intent. The
intents are finer than a gap needs, so recall matters less than precision. Prints precision, recall and F1 of pairs.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from assistant.gaps import grouped
from bench.sets import DATA, jsonl
from knowledge.embedding import make_embedder

SETS = ("banking77", "clinc-oos")
QUESTIONS = 800
COSINES = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def main() -> None:
    """Print a row for each least cosine."""
    embedder = make_embedder("minilm", Path(".bench") / "models")
    found: dict[float, list[float]] = {}
    for name in SETS:
        rows = jsonl(DATA / name / "dev.jsonl")
        random.Random(1).shuffle(rows)
        vectors = embedder.embed([row["question"] for row in rows[:QUESTIONS]])
        for least in COSINES:
            precision, recall = _pairs(vectors, [row["intent"] for row in rows[:QUESTIONS]], least)
            score = 2 * precision * recall / (precision + recall)
            found.setdefault(least, []).append(score)
            print(f"{name}  {least:.2f}  precision {precision:.3f}  recall {recall:.3f}  F1 {score:.3f}")
    for least, scores in found.items():
        print(f"mean  {least:.2f}  F1 {np.mean(scores):.3f}")


def _pairs(vectors: Any, intents: list[str], least: float) -> tuple[float, float]:
    groups = {member: number for number, group in enumerate(grouped(vectors, least)) for member in group.members}
    labels = [groups[index] for index in range(len(intents))]
    right = _same(Counter(zip(labels, intents, strict=True)))
    return right / max(1, _same(Counter(labels))), right / _same(Counter(intents))


def _same(counted: Counter[Any]) -> int:
    return sum(count * (count - 1) // 2 for count in counted.values())


if __name__ == "__main__":
    main()
