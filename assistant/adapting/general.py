"""Rows that keep what a model can do without documents: `python -m assistant.adapting.general FOLDER`.

An adapter that only ever saw notes forgets how to say hello; trained on the base model's own answers among the rest, it
does not (self-distillation: Yang et al. 2024, arXiv:2402.13669). None of the questions is one of the gate's. Its own
process, before the training, started by `process.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from adapters import job
from adapters.duplicates import digest
from adapters.job import Row
from assistant import prompts
from assistant.adapting.jobs import PLAN
from assistant.adapting.stages import run_stage
from assistant.models import make_model
from assistant.settings import Settings
from assistant.types import ChatModel, Completed, Message, Question, TrainableModel

SHARE = 0.12
"""General rows for each row of the owner's. Without any, an adapter of 972 rows fell from 62 to 29 % of the gate's
general questions."""
TOKENS_MAX = 96
SOURCE = "the base model's own answers to general questions"


def questions(rows: int) -> list[str]:
    """The general questions that go with so many rows of the owner's."""
    text = files("adapters").joinpath("general_prompts.txt").read_text(encoding="utf-8")
    return sorted(text.splitlines(), key=digest)[: round(rows * SHARE)]


def tokens(model: TrainableModel, rows: int) -> int:
    """About how many tokens the general rows will have, answers aside."""
    return sum(len(model.as_trained(_messages(question), "")[0]) for question in questions(rows))


def add_general(folder: Path) -> None:
    """Let the base model answer, and put what it said beside a job's rows.

    Raises:
        ModelError: it cannot answer.
        AdapterError: there is no room.
    """
    settings = Settings(**json.loads((folder / PLAN).read_text(encoding="utf-8"))["settings"])
    asked = questions(len(job.rows(folder, job.TRAIN)))
    with closing(make_model(settings, {})) as model:
        rows: list[Row] = []
        for number, question in enumerate(asked):
            job.tell(folder, "general", done=number, total=len(asked), label="base model")
            if (folder / job.CANCEL).exists():
                job.tell(folder, "cancelled", reason="cancelled")
                return
            if answer := _answer(model, question):
                prompt, completion = model.as_trained(_messages(question), answer)  # type: ignore[attr-defined]
                rows.append(Row(tuple(prompt), tuple(completion)))
    job.write_rows(folder, job.GENERAL, rows)


def _answer(model: ChatModel, question: str) -> str:
    """Nothing where the answer finds no end: that would teach to ramble."""
    said = ""
    for item in model.stream(_messages(question), max_tokens=TOKENS_MAX):
        if isinstance(item, Completed):
            return said.strip() if item.finish == "stop" else ""
        said += item.text
    return ""


def _messages(question: str) -> Sequence[Message]:
    return prompts.alone(Question(question, "", (), "training"))


if __name__ == "__main__":
    sys.exit(run_stage(add_general))
