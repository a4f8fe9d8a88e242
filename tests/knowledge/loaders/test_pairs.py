"""Question-answer pairs, and tables of anything else."""

from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders import load


def written(tmp_path: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'id,question,answer\n1,"How, now?","Like this.\nAnd that."\n2,Why?,\n'),
        ("a.csv", 'Antwort;Frage\n"Like this.\nAnd that.";How, now?\n'),
        ("a.tsv", 'query\tresponse\nHow, now?\t"Like this.\nAnd that."\n'),
        ("a.jsonl", '\n{"prompt": "How, now?", "completion": "Like this.\\nAnd that.", "x": 1}\n'),
        ("a.jsonl", '{"question": "How, now?", "answers": ["Like this.\\nAnd that.", "no"]}\n'),
    ],
)
def test_a_pair_is_a_section_with_the_question_as_its_heading(tmp_path: Path, name: str, text: str) -> None:
    document = load(written(tmp_path, name, text))
    assert document.pairs
    assert [(s.heading, s.text) for s in document.sections] == [(("How, now?",), "Like this.\nAnd that.")]


def test_a_table_without_such_columns_is_read_as_rows(tmp_path: Path) -> None:
    document = load(written(tmp_path, "stores.csv", "City;Opens\nOslo;9:00\nRome;\n"))
    assert not document.pairs
    assert [s.text for s in document.sections] == ["City: Oslo\nOpens: 9:00\n\nCity: Rome"]


def test_a_jsonl_file_without_the_fields_is_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match=r"line 2.*question.*answer"):
        load(written(tmp_path, "a.jsonl", '{"question": "a?", "answer": "b"}\n{"text": "x"}\n'))


@pytest.mark.parametrize("line", ["{", "[1]", '"x"', "[" * 100_000])
def test_a_jsonl_line_that_is_no_object_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(UnreadableDocument, match="line 1"):
        load(written(tmp_path, "a.jsonl", line))


def test_lone_surrogates_in_json_do_not_survive(tmp_path: Path) -> None:
    document = load(written(tmp_path, "a.jsonl", '{"question": "a\\ud800?", "answer": "b\\u0000c"}\n'))
    assert (document.sections[0].heading, document.sections[0].text) == (("a?",), "bc")


def test_a_field_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="columns"):
        load(written(tmp_path, "a.csv", 'a,"' + "x" * 2_000_000))
