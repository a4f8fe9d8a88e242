"""A golden set through chosen levels: how often right, how often declined, at what cost.

Runs the same pipeline as users do, recording nothing in the traces. Called by `rungs evaluate` and `bench/`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from assistant.errors import BadQuestion
from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import Grade, grade
from assistant.types import Answer, Attempt, Evidence, Finished, Level, Question, Trace
from knowledge.types import Progress

if TYPE_CHECKING:
    from assistant.build import Rungs

AUTO = "auto"
GOLD_RANKS = 5


class Unrecorded:
    """A recorder that keeps nothing: evaluation must not look like users in the log."""

    def begin(self, question: Question, versions: Mapping[str, str]) -> str:
        """A fresh id."""
        return uuid4().hex

    def finish(self, trace: Trace) -> None:
        """Nothing to keep."""

    def interrupted(self, trace_id: str, reason: str) -> None:
        """Nothing to keep."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row through one level."""

    row: GoldenRow
    level: str
    """prompting, rag, lora or auto"""
    answer: Answer
    grade: Grade
    attempts: tuple[Attempt, ...]
    evidence: Evidence
    seconds: float

    @property
    def answered(self) -> bool:
        """True where an answer was given, right or wrong."""
        return self.answer.outcome == "answered"

    @property
    def gold_retrieved(self) -> bool:
        """True where a gold document is among those of the first five passages."""
        return not {h.passage.document for h in self.evidence.hits[:GOLD_RANKS]}.isdisjoint(self.row.gold_docs)

    def as_json(self) -> dict[str, Any]:
        """The row of `rungs evaluate --rows`."""
        return {
            "id": self.row.id,
            "level": self.level,
            "answer": self.answer.text,
            "outcome": self.answer.outcome,
            "answered_by": self.answer.level,
            "correct": self.grade.correct if self.row.expect != "ungraded" else None,
            "confidence": self.answer.confidence,
            "documents": list(dict.fromkeys(h.passage.document for h in self.evidence.hits[:GOLD_RANKS])),
        }


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Every row through every level."""

    results: tuple[Result, ...]

    def as_json(self, rows: bool = False) -> dict[str, Any]:
        """The document of `rungs evaluate --json`: counts are integers, seconds are percentiles, tokens are sums."""
        levels = list(dict.fromkeys(result.level for result in self.results))
        graded = [result for result in self.results if result.row.expect != "ungraded"]
        document: dict[str, Any] = {
            "levels": {level: summary([r for r in graded if r.level == level]) for level in levels},
            "ungraded": len({r.row.id for r in self.results if r.row.expect == "ungraded"}),
        }
        if rows:
            document["rows"] = [result.as_json() for result in self.results]
        return document


def evaluate(
    rungs: Rungs, rows: Sequence[GoldenRow], levels: Sequence[str] = ("prompting", "rag", "lora", AUTO)
) -> Iterator[Progress | EvaluationReport]:
    """Ask every row at every level. Yields progress, and last the report. A level that cannot be tried abstains."""
    results: list[Result] = []
    total = len(rows) * len(levels)
    with rungs.assistant.lease() as crew:  # one crew is measured, whatever is promoted meanwhile
        assistant = replace(crew.assistant(), traces=Unrecorded())
        for level in levels:
            for row in rows:
                results.append(_ask(rungs, assistant, row, level))
                yield Progress(len(results), total, f"{level}: {row.id}")
    yield EvaluationReport(tuple(results))


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Counts and costs of graded results of one level."""
    seconds = [result.seconds for result in results] or [0.0]
    told = [result for result in results if result.answered]
    with_gold = [result for result in told if result.row.answers]
    drafts = [attempt.draft for result in results for attempt in result.attempts if attempt.draft]
    return {
        "n": len(results),
        "correct": sum(result.grade.correct for result in results),
        "contains": sum(result.grade.contains for result in results),
        "token_f1": round(float(np.mean([r.grade.token_f1 for r in with_gold])), 4) if with_gold else 0.0,
        "words": round(float(np.mean([result.grade.words for result in told])), 1) if told else 0.0,
        "answered": len(told),
        "abstained": len(results) - len(told),
        "wrong_accepted": sum(not result.grade.correct for result in told),
        "gold_retrieved": sum(result.gold_retrieved for result in results),
        "seconds_p50": round(float(np.percentile(seconds, 50)), 3),
        "seconds_p95": round(float(np.percentile(seconds, 95)), 3),
        "tokens_in": sum(draft.tokens_in for draft in drafts),
        "tokens_out": sum(draft.tokens_out for draft in drafts),
    }


def _ask(rungs: Rungs, assistant: Any, row: GoldenRow, level: str) -> Result:
    forced: Level | None = None if level == AUTO else level  # type: ignore[assignment]
    question = Question(row.question, uuid4().hex, row.history, "evaluate", forced)
    try:
        *_, last = assistant.stream(question, threading.Event())
        assert isinstance(last, Finished)  # noqa: S101  (an uncancelled stream ends so)
        trace = last.trace
        answer, attempts, evidence, seconds = trace.answer, trace.attempts, trace.evidence, trace.seconds
    except BadQuestion as error:
        answer, attempts, evidence, seconds = Answer(str(error), "abstained"), (), Evidence(()), 0.0
    return Result(row, level, answer, grade(row, answer, rungs.store.embedder), attempts, evidence, seconds)
