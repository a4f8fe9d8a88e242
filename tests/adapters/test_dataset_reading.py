"""Rows to examples: what a row may hold, and which line is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import BadTrainingSet
from adapters.reading import ROW_BYTES_MAX, Unsaid, example_of, from_pairs, read_rows
from adapters.types import Passage, Room, Turn
from tests.adapters.rows import DECLINE, UNSAID, jsonl

ROW = {"question": "How long is it open?", "answer": "Until six."}


def test_a_row_needs_only_question_and_answer(tmp_path: Path) -> None:
    (row,) = read_rows(jsonl(tmp_path / "faq.jsonl", ROW), Unsaid(DECLINE))
    assert (row.id, row.source, row.question, row.answer) == ("faq.jsonl:1", "faq.jsonl", *ROW.values())
    assert (row.expect, row.approved_by, row.consent) == ("style", "", False)


def test_a_full_row_keeps_all_it_says(tmp_path: Path) -> None:
    said = {
        **ROW, "id": 7, "history": [{"role": "user", "text": "Hi"}, {"role": "assistant", "content": "Hello!"}],
        "passages": ["Open until six.", {"text": "Closed on Sundays.", "address": "Hours", "document": "hours.md"}],
        "source": "traces", "document": "hours.md", "conversation": "c1", "approved_by": "ann", "consent": True,
        "rejected": "I am open.", "distance": 0.5, "intent": "ignored", "extra": {"also": ["ignored"]},
    }  # fmt: skip
    (row,) = read_rows(jsonl(tmp_path / "rows.jsonl", said), UNSAID)
    assert row.id == "7"
    assert row.history == (Turn("user", "Hi"), Turn("assistant", "Hello!"))
    assert row.passages == (Passage("Open until six."), Passage("Closed on Sundays.", "Hours", "hours.md"))
    assert (row.source, row.document, row.conversation, row.approved_by) == ("traces", "hours.md", "c1", "ann")
    assert (row.consent, row.rejected, row.distance, row.expect) == (True, "I am open.", 0.5, "grounded")


def test_a_row_that_names_nobody_is_not_vouched_for(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "rows.jsonl", ROW, {**ROW, "approved_by": None}, {**ROW, "approved_by": "", "consent": False}
    )
    silent, *named = read_rows(path, UNSAID)
    assert (silent.approved_by, silent.consent) == ("reviewer", True)
    assert [row.approved_by for row in named] == ["", ""]
    assert not named[1].consent


def test_what_a_row_teaches_is_stated_or_seen() -> None:
    def taught(**fields: Any) -> str:
        return example_of({**ROW, **fields}, "one", UNSAID).expect

    assert taught() == "style"
    assert taught(passages=["Open until six."]) == "grounded"
    assert taught(answer="I don't KNOW!", passages=["Open until six."]) == "decline"
    assert taught(answer="Ask Ann.", expect="decline") == "decline"
    assert taught(expect="answer", passages=["x y"]) == "grounded"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "line 2"),
        ('{"question": "a", "answer": ' + "9" * 5000 + "}", "line 2"),
        ({"question": "a"}, "`answer` is missing"),
        ({"question": "a", "answer": ["b"]}, "`answer` is missing"),
        ({"question": "a", "answer": " \n\t\u200b"}, "`answer` is empty"),
        ({"question": "", "answer": "b"}, "`question` is empty"),
        ({**ROW, "passages": "text"}, "`passages` must be a list"),
        ({**ROW, "passages": [{"address": "x"}]}, "`text` is missing"),
        ({**ROW, "passages": [[]]}, "a passage must be"),
        ({**ROW, "history": [{"role": "system", "text": "obey"}]}, "a turn of `history`"),
        ({**ROW, "consent": "yes"}, "`consent` must be true or false"),
        ({**ROW, "approved_by": True}, "`approved_by` must be a text"),
        ({**ROW, "distance": 2}, "`distance` must be"),
        ({**ROW, "distance": True}, "`distance` must be"),
        (json.dumps({**ROW, "distance": float("nan")}), "`distance` must be"),
        ({"question": "a", "answer": "x" * ROW_BYTES_MAX}, "more than 1024 KiB"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: Any, fault: str) -> None:
    with pytest.raises(BadTrainingSet, match="line 2") as refused:
        read_rows(jsonl(tmp_path / "rows.jsonl", ROW, row, {**ROW, "question": "Where?"}), UNSAID)
    assert fault in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_all_bad_lines_are_named_at_once_up_to_a_few(tmp_path: Path) -> None:
    with pytest.raises(BadTrainingSet, match=r"line 1: .*line 5: .*and 2 more"):
        read_rows(jsonl(tmp_path / "rows.jsonl", *["{"] * 7, ROW), UNSAID)


def test_an_id_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {**ROW, "id": "a"}, "", {**ROW, "id": "a"})
    with pytest.raises(BadTrainingSet, match=r"line 3: id 'a' stands in line 1, too"):
        read_rows(path, UNSAID)


def test_a_row_longer_than_the_context_is_refused_with_its_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", ROW, {**ROW, "answer": "word " * 3000})
    room = Room(lambda example: len(example.answer.split()), 2048)
    with pytest.raises(BadTrainingSet, match=r"line 2: the row has 3,000 tokens, and the context holds 2,048"):
        read_rows(path, UNSAID, room)
    assert len(read_rows(path, UNSAID)) == 2


@pytest.mark.parametrize("content", [b"", b"\n \n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadTrainingSet, match="holds no rows"):
        read_rows(path, UNSAID)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadTrainingSet, match="cannot be read"):
            read_rows(path, UNSAID)


def test_encodings_are_taken_as_json_says(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"question": "Grüße\u2028?", "answer": "a\ud800\0b"})
    path.write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n" + json.dumps(ROW).encode())
    first, second = read_rows(path, UNSAID)
    assert (first.question, first.answer) == ("Grüße\u2028?", "a\ufffd b")
    assert second.question == ROW["question"]
    path.write_bytes(b'{"question": "caf\xe9", "answer": "x"}')
    with pytest.raises(BadTrainingSet, match="line 1: is not valid UTF-8"):
        read_rows(path, UNSAID)


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text(max_size=5) | st.floats(),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
           st.sampled_from(["question", "answer", "passages", "history", "text", "role", "id", "expect"]), inner),
       max_leaves=12).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        rows = read_rows(path, UNSAID)
    except BadTrainingSet:
        return
    assert all(row.question.strip() and row.answer.strip() for row in rows)


def test_pairs_become_examples_and_a_bad_one_is_counted_out() -> None:
    one, two = from_pairs([("Who?", "Ann."), ("Where?", DECLINE)], UNSAID)
    assert (one.id, one.expect, one.approved_by) == ("rows.jsonl:1", "style", "reviewer")
    assert two.expect == "decline"
    with pytest.raises(BadTrainingSet, match="pair 2 of rows"):
        from_pairs([("Who?", "Ann."), ("Where?", "")], UNSAID)
