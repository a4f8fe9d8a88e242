"""Level 3, lora: the adapted model over the same passages. Skipped where no adapter is promoted.

LoRA carries behaviour and skill, not facts: the adapted model reads the same evidence as level rag, and without
evidence it is not asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from assistant.levels.judging import Bench
from assistant.levels.rag import grounded
from assistant.types import Attempt, Evidence, Level, Question, Words


class Lora:
    """The adapted model over the passages."""

    name: Level = "lora"

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        """Skipped without an adapter, without evidence, or without a calibrated confidence that promises anything."""
        if self.bench.adapter is None:
            return "no adapter promoted"
        if not evidence.sentences:
            return "no passage was found"
        if question.level == "lora":
            return None
        fitted = self.bench.calibration.of("lora", self.bench.versions)
        if fitted is None:
            return "no calibrated confidence for this adapter (rungs calibrate fits one)"
        if fitted.threshold is None:
            return "no draft of this adapter could be promised to be right (rungs calibrate says what is missing)"
        return None

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        """Write from the evidence with the adapter on."""
        yield from grounded(self.bench, "lora", question, evidence, cancel, adapter=self.bench.adapter)
