"""Golden sets are read strictly, and every mistake is named with its line."""

import json
from pathlib import Path

import pytest

from assistant.errors import BadGoldenSet
from assistant.evaluation.golden import read_golden, row_of


def write(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "golden.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize(
    ("raw", "expect"),
    [
        ({"question": "q", "answer": "a"}, "answer"),
        ({"question": "q", "gold_doc": "a.md"}, "answer"),
        ({"question": "q", "answerable": False, "answers": []}, "decline"),
        ({"question": "q"}, "ungraded"),
        ({"question": "q", "expect": "any"}, "any"),
    ],
)
def test_what_is_expected_follows_from_what_is_given(raw: dict[str, object], expect: str) -> None:
    assert row_of(raw).expect == expect


def test_unknown_fields_are_kept() -> None:
    assert row_of({"question": "q", "colour": "blue"}).extra == {"colour": "blue"}


def test_a_row_without_an_id_is_named_by_its_line(tmp_path: Path) -> None:
    assert read_golden(write(tmp_path, {"question": "q", "answer": "a"}))[0].id == "line-1"


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[]",
        {"answer": "a"},
        {"question": ""},
        {"question": "q", "expect": "maybe"},
        {"question": "q", "history": [1]},
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: object) -> None:
    with pytest.raises(BadGoldenSet, match="line 2"):
        read_golden(write(tmp_path, {"question": "fine", "answer": "a"}, row))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadGoldenSet, match="twice"):
        read_golden(write(tmp_path, {"id": "x", "question": "a"}, {"id": "x", "question": "b"}))


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadGoldenSet, match="no rows"):
        read_golden(write(tmp_path))
    with pytest.raises(BadGoldenSet, match="cannot be read"):
        read_golden(tmp_path / "nowhere.jsonl")
