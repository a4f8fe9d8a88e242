"""Answers side by side, for a person who decides: some gained, some lost, of every check. Called by `gate.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from adapters.duplicates import digest
from adapters.gate_checks import FAULTS
from adapters.gate_scores import Scored
from adapters.gate_types import CHECKS, Check, Sample, Side
from adapters.rendering import write_jsonl

Change = Literal["gained", "lost", "same"]
EACH = 3
"""Most samples of each change in each check."""


def chosen(scored: Mapping[Check, Sequence[Scored]], sides: Sequence[Side], seed: int) -> Iterator[Sample]:
    """Samples by check: what the candidate gained over the base model, what it lost, and one where nothing changed."""
    for check in CHECKS:
        drawn = sorted(scored[check], key=lambda row: digest(f"{seed} {row.asked.question.id}"))
        for change, most in (("gained", EACH), ("lost", EACH), ("same", 1)):
            for row in [row for row in drawn if _change(row) == change][:most]:
                question = row.asked.question
                said = {side: row.asked.replies[side].text for side in sides}
                yield Sample(question.id, check, _change(row), question.question, question.golds, said)


def write(path: Path, samples: Sequence[Sample]) -> int:
    """Write samples as JSONL; the file appears whole or not at all.

    Returns:
        How many rows were written.

    Raises:
        AdapterError: the file cannot be written.
    """
    return write_jsonl(path, (asdict(sample) for sample in samples))


def _change(row: Scored) -> Change:
    base, candidate = row.counts["base"], row.counts["candidate"]
    if base == candidate:
        return "same"
    return "gained" if candidate != (row.asked.question.check in FAULTS) else "lost"
