"""Level 1, prompting: the base model alone. For greetings, small talk, language help, general knowledge.

A base model must not invent facts about the owner's domain, so a question that looks like one for the documents is
not even tried, and a draft is judged after a short probe: what is not accepted there is broken off.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from assistant import prompts, signals
from assistant.confidence import sigmoid
from assistant.levels.judging import Bench, Verdict, attempt_of, judge, write
from assistant.types import Attempt, Evidence, Level, Question, Token, Words

PROBE_TOKENS = 12
NEEDS_DOCUMENTS_BELOW = 0.2
"""A question less likely than this to need no document, and near to a passage, is left to the documents untried."""
NEAR_PASSAGE = 0.45
"""Cosine from which a passage counts as near. Where none is, the documents have nothing to lose by a short draft."""


class Prompting:
    """The base model alone."""

    name: Level = "prompting"

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        """Skipped without a calibrated confidence, or where the question is one for the documents."""
        if question.level == "prompting":
            return None
        fitted = self.bench.calibration.of("prompting", self.bench.versions)
        if fitted is None or fitted.threshold is None:
            return "no calibrated confidence for this model alone (rungs calibrate fits one)"
        chance = sigmoid(evidence.signals.get("no_document", 0.0))
        near = evidence.signals.get("passage_best", 0.0) >= NEAR_PASSAGE
        if near and chance < NEEDS_DOCUMENTS_BELOW:
            return f"the question is one for the documents ({chance:.0%} likely to need none)"
        return None

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        """Write, judge after the probe, go on only if accepted."""
        messages = prompts.alone(question)

        def judged(tokens: Sequence[Token]) -> Verdict:
            probed = signals.from_tokens(tokens[:PROBE_TOKENS])
            return judge(self.bench, "prompting", {**evidence.signals, **probed}, forced=question.level == "prompting")

        written = yield from write(
            self.bench,
            messages,
            judged,
            conversation=question.conversation_id,
            cancel=cancel,
            probe=PROBE_TOKENS,
            forced=question.level == "prompting",
        )
        yield attempt_of(self.bench, "prompting", written, messages)
