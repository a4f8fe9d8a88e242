"""Golden sets: questions with known answers, one JSON object per line.

Reads and checks; grades nothing. The row format is DESIGN.md's; unknown fields are kept and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assistant.errors import BadGoldenSet
from assistant.types import Turn

Expect = Literal["answer", "decline", "any", "ungraded"]


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One question with what is expected of its answer."""

    id: str
    question: str
    history: tuple[Turn, ...] = ()
    expect: Expect = "ungraded"
    answers: tuple[str, ...] = ()
    """Accepted golds: short spans that a right answer holds, or long reference answers."""
    gold_docs: tuple[str, ...] = ()
    """Documents that hold the answer: `gold_doc` first, then `also_gold`."""
    intent: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_golden(path: Path) -> tuple[GoldenRow, ...]:
    """Read a golden set.

    Raises:
        BadGoldenSet: the file is missing, empty, not JSONL, or a row lacks what it needs; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadGoldenSet(f"golden set {path} cannot be read: {error}") from error
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise BadGoldenSet(f"golden set {path} holds no rows. One JSON object per line is expected.")
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise BadGoldenSet(f"golden set {path}: id {row.id!r} stands twice. Ids must be unique.")
        seen.add(row.id)
    return tuple(rows)


def row_of(raw: Mapping[str, Any]) -> GoldenRow:
    """One row out of a JSON object.

    Raises:
        ValueError: a field is missing or of the wrong kind.
    """
    question = raw.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("`question` must be a text that is not empty")
    answers = raw.get("answers", raw.get("answer", ()))
    answers = (answers,) if isinstance(answers, str) else tuple(answers or ())
    docs = [raw.get("gold_doc"), *(raw.get("also_gold") or ())]
    known = {"id", "question", "history", "expect", "answers", "answer", "gold_doc", "also_gold", "intent"}
    return GoldenRow(
        id=str(raw.get("id", "")),
        question=question,
        history=tuple(Turn(turn["role"], turn.get("text", turn.get("content", ""))) for turn in raw.get("history", ())),
        expect=_expect(raw, bool(answers or docs[0])),
        answers=tuple(str(answer) for answer in answers if str(answer).strip()),
        gold_docs=tuple(str(doc) for doc in docs if doc),
        intent=str(raw.get("intent", "")),
        extra={key: value for key, value in raw.items() if key not in known},
    )


def _expect(raw: Mapping[str, Any], has_gold: bool) -> Expect:
    stated = raw.get("expect")
    if stated is not None:
        if stated not in ("answer", "decline", "any"):
            raise ValueError(f"`expect` is {stated!r}; it must be answer, decline or any")
        return stated  # type: ignore[no-any-return]
    if raw.get("answerable") is False:
        return "decline"
    return "answer" if has_gold else "ungraded"


def _row(path: Path, number: int, line: str) -> GoldenRow:
    try:
        raw = json.loads(line)
        if not isinstance(raw, dict):
            raise ValueError("a row must be a JSON object")
        row = row_of({"id": f"line-{number}", **raw})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadGoldenSet(f"golden set {path}, line {number}: {error}") from error
    return row
