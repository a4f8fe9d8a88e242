"""Rows as a trainer reads them, with exactly the prompts of serving."""

import errno
import json
import os
from pathlib import Path

import pytest

from adapters.errors import AdapterError
from adapters.rendering import preference_rows, row_tokens, sft_rows, write_jsonl
from adapters.types import Example, Message, Passage, Turn
from assistant import prompts, types
from knowledge.types import Passage as KnownPassage
from knowledge.types import Sentence
from tests.adapters.rows import example


def as_served(row: Example) -> list[Message]:
    """What `build.py` gives: the assistant's own prompt."""
    question = types.Question(row.question, "c", tuple(types.Turn(turn.role, turn.text) for turn in row.history))
    sentences = [
        Sentence(
            passage.text,
            KnownPassage("id", "", passage.document, "", passage.address, passage.text, 0),
            0,
            len(passage.text),
            1.0,
            1.0,
        )
        for passage in row.passages
    ]
    return [{"role": message.role, "content": message.content} for message in prompts.grounded(question, sentences)]


ROW = example(
    history=(Turn("user", "Hi"), Turn("assistant", "Hello!")),
    passages=(Passage("A soft cloth cleans a lamp.", "Care > Lamps", "care.md"),),
    rejected="Use water.",
)


def test_an_sft_row_is_the_serving_prompt_and_the_answer() -> None:
    (row,) = sft_rows([ROW], as_served)
    assert [message["role"] for message in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert "- Lamps: A soft cloth cleans a lamp." in row["prompt"][-1]["content"]
    assert ROW.question in row["prompt"][-1]["content"]
    assert row["completion"] == [{"role": "assistant", "content": ROW.answer}]


def test_a_correction_is_a_preference_pair_and_a_mere_comma_is_none() -> None:
    comma = example("two", answer="With a soft cloth", rejected="with a soft cloth!")
    (row,) = preference_rows([ROW, comma, example("three")], as_served)
    assert row["chosen"] == [{"role": "assistant", "content": ROW.answer}]
    assert row["rejected"] == [{"role": "assistant", "content": "Use water."}]
    assert row["prompt"][-1]["role"] == "user"


def test_a_row_is_as_long_as_its_prompt_and_answer() -> None:
    words = sum(len(message["content"].split()) for message in as_served(ROW)) + len(ROW.answer.split())
    assert words < row_tokens(ROW, as_served, lambda text: len(text.split())) <= words + 25


def test_written_rows_come_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert write_jsonl(path, sft_rows([ROW, example("zwei", answer="Grüße\u2028\n")], as_served)) == 2
    assert [json.loads(line)["completion"][0]["content"] for line in path.read_bytes().splitlines()] == [
        ROW.answer,
        "Grüße\u2028\n",
    ]
    assert [entry.name for entry in path.parent.iterdir()] == ["rows.jsonl"]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("old\n")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AdapterError, match="No space left"):
        write_jsonl(path, [{"a": 1}])
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]
