"""What a gate will ask, kept in the job's folder from planning to judging: the knowledge may change meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapters.gate_types import GateQuestion
from adapters.types import Passage, Turn
from assistant.adapting.jobs import GATE


def write_questions(folder: Path, questions: Sequence[GateQuestion]) -> None:
    """Keep what a gate will ask."""
    text = "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions)
    (folder / GATE).write_text(text, encoding="utf-8")


def read_questions(folder: Path) -> tuple[GateQuestion, ...]:
    """What `write_questions` kept; nothing where a training was planned without a gate."""
    with suppress(FileNotFoundError):
        lines = (folder / GATE).read_text(encoding="utf-8").splitlines()
        return tuple(_question(json.loads(line)) for line in lines)
    return ()


def _question(raw: dict[str, Any]) -> GateQuestion:
    raw["history"] = tuple(Turn(**turn) for turn in raw["history"])
    raw["passages"] = tuple(Passage(**passage) for passage in raw["passages"])
    raw["golds"], raw["obeyed_if"] = tuple(raw["golds"]), tuple(raw["obeyed_if"])
    return GateQuestion(**raw)
