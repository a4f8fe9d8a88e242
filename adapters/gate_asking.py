"""Asks every side every question, keeps what was answered before, and counts what failed.

Judges nothing. Called by `gate.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from adapters.disk import explained
from adapters.errors import AnswerFailed
from adapters.gate_types import Answer, GateProgress, GateQuestion, Reply, Side

BYTES_MAX = 32 * 1024 * 1024
"""A file of kept answers that has grown beyond this is begun anew."""
LABELS: Mapping[Side, str] = {"base": "base model", "live": "live adapter", "candidate": "candidate"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with what the sides said."""

    question: GateQuestion
    replies: Mapping[Side, Reply]
    failures: Mapping[Side, str]
    """Why a side has no reply."""

    @property
    def whole(self) -> bool:
        """Whether every side answered: only such rows are compared."""
        return not self.failures


class Kept:
    """Answers of earlier gates, one JSONL file per side, so that the same weights are not asked the same twice."""

    def __init__(self, folder: Path, keys: Mapping[Side, str]) -> None:
        """Read what is there; a damaged line is asked again.

        Args:
            folder: where the files lie; made if it is not there.
            keys: what answers, for each side whose answers are kept: hashes of weights, adapter, prompts and limits.
                A side without a key is asked afresh.

        Raises:
            AdapterError: the folder cannot be read or written.
        """
        self._paths: dict[Side, Path] = {}
        self._known: dict[Side, dict[str, Reply]] = {}
        with explained(f"{folder} cannot keep answers"):
            folder.mkdir(parents=True, exist_ok=True)
            for side, key in keys.items():
                self._paths[side] = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsonl"
                self._known[side] = _read(self._paths[side])

    def find(self, question: GateQuestion, side: Side) -> Reply | None:
        """What this side said to the same question with the same passages, if it was asked before."""
        return self._known.get(side, {}).get(_digest(question))

    def keep(self, question: GateQuestion, side: Side, reply: Reply) -> None:
        """Keep an answer, on disk at once.

        Raises:
            AdapterError: it cannot be written.
        """
        if side not in self._paths:
            return
        self._known[side][_digest(question)] = reply
        line = json.dumps({"question": _digest(question), "text": reply.text, "logprobs": reply.logprobs})
        with explained(f"{self._paths[side]} cannot be written"), self._paths[side].open("ab") as file:
            file.write(f"\n{line}\n".encode())  # the first break ends a line that a killed process left unfinished


def ask_all(
    questions: Sequence[GateQuestion], answer: Answer, sides: Sequence[Side], kept: Kept | None
) -> Generator[GateProgress, None, tuple[Asked, ...]]:
    """Ask, one side after the other: switching adapters for each question would read every prompt anew.

    Yields:
        Progress, after each answer.
    """
    replies: list[dict[Side, Reply]] = [{} for _ in questions]
    failures: list[dict[Side, str]] = [{} for _ in questions]
    total, done = len(questions) * len(sides), 0
    for side in sides:
        for number, question in enumerate(questions):
            try:
                replies[number][side] = _ask(question, side, answer, kept)
            except AnswerFailed as error:
                failures[number][side] = str(error)
            done += 1
            yield GateProgress(done, total, f"{LABELS[side]}: {question.check}")
    return tuple(Asked(*row) for row in zip(questions, replies, failures, strict=True))


def _ask(question: GateQuestion, side: Side, answer: Answer, kept: Kept | None) -> Reply:
    known = kept.find(question, side) if kept else None
    if known is not None:
        return known
    reply = answer(question, side)
    if any(math.isnan(logprob) or logprob == math.inf for logprob in reply.logprobs):
        raise AnswerFailed("its token log-probabilities are no numbers")
    if kept:
        kept.keep(question, side, reply)
    return reply


def _digest(question: GateQuestion) -> str:
    """Of all that a side is shown; `general` and `memory` are prompted differently."""
    shown = [
        question.check if question.check in ("general", "memory") else "grounded",
        question.question,
        [asdict(turn) for turn in question.history],
        [[passage.address, passage.text] for passage in question.passages],
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Reply]:
    if path.is_file() and path.stat().st_size > BYTES_MAX:
        path.unlink()
    known: dict[str, Reply] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, KeyError, TypeError):
            raw = json.loads(line)
            reply = Reply(str(raw["text"]), tuple(float(logprob) for logprob in raw["logprobs"]))
            if not any(math.isnan(logprob) for logprob in reply.logprobs):
                known[raw["question"]] = reply
    return known
