"""Question-answer pairs from CSV or JSONL; a CSV of anything else as rows of "column: value".

Each pair becomes one section: the question is its heading, the answer its text. Trains nothing and grades nothing; a
JSONL file without the two fields is refused, since its records say nothing a reader could be shown. Called through
`LOADERS`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import tidy
from knowledge.loaders.markdown import title_from_name
from knowledge.loaders.reading import read_text
from knowledge.types import Document, Section

QUESTION_COLUMNS = ("question", "questions", "query", "instruction", "prompt", "input", "frage", "q")
ANSWER_COLUMNS = ("answer", "answers", "response", "reply", "completion", "output", "antwort", "a")
WANTED = 'columns "question" and "answer" (or query/prompt/instruction and response/reply/completion)'
DELIMITERS = ",;\t|"
ROWS_MAX = 200_000
FIELD_CHARACTERS = 1_000_000


class CsvLoader:
    """CSV: question-answer pairs where it has such columns, else its rows as text."""

    suffixes: tuple[str, ...] = (".csv", ".tsv")

    def load(self, path: Path) -> Document:
        """Read the file.

        Raises:
            UnreadableDocument: it is no text, cannot be split into columns, or has too many rows.
        """
        rows = _rows(read_text(path), path)
        columns = _question_and_answer(rows[0])
        if columns:
            question, answer = columns
            pairs = ((row[question], row[answer]) for row in rows[1:] if len(row) > max(question, answer))
            return _document(pairs, path)
        return Document(title_from_name(path.name), (Section("\n\n".join(_as_text(rows))),))


class JsonlLoader:
    """JSONL: one question-answer pair a line."""

    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")

    def load(self, path: Path) -> Document:
        """Read the file.

        Raises:
            UnreadableDocument: a line is no JSON object, or one lacks the fields; names the line.
        """
        return _document(_json_pairs(read_text(path), path), path)


def _document(pairs: Iterable[tuple[str, str]], path: Path) -> Document:
    sections: list[Section] = []
    for question, answer in pairs:
        question, answer = " ".join(tidy(question).split()), tidy(answer)
        if question and answer:
            sections.append(Section(answer, (question,)))
        if len(sections) > ROWS_MAX:
            raise UnreadableDocument(f"{path.name}: has more than {ROWS_MAX:,} pairs. Split it into smaller files.")
    if not sections:
        raise UnreadableDocument(f"{path.name}: holds no pair with both a question and an answer.")
    return Document(title_from_name(path.name), tuple(sections), pairs=True)


def _rows(text: str, path: Path) -> list[list[str]]:
    """Rows without the empty ones; the first one names the columns."""
    text = text.replace("\0", "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    before = csv.field_size_limit(FIELD_CHARACTERS)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True):
            if any(cell.strip() for cell in row):
                rows.append([tidy(cell) for cell in row])
            if len(rows) > ROWS_MAX:
                raise UnreadableDocument(f"{path.name}: has more than {ROWS_MAX:,} rows. Split it into smaller files.")
    except csv.Error as error:
        raise UnreadableDocument(f"{path.name}: cannot be split into columns ({error}).") from error
    finally:
        csv.field_size_limit(before)
    if not rows:
        raise UnreadableDocument(f"{path.name}: holds no text.")
    return rows


def _delimiter(text: str) -> str:
    """The separator that cuts the first rows into the same number of columns, the most of them."""
    sample = text[:65_536]
    best, best_key = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(sample), delimiter=delimiter) if row][:50]
        except csv.Error:
            continue
        if not widths or max(widths) < 2:
            continue
        usual = max(set(widths), key=widths.count)
        if usual > 1 and (widths.count(usual) / len(widths), usual) > best_key:
            best, best_key = delimiter, (widths.count(usual) / len(widths), usual)
    return best


def _question_and_answer(names: Sequence[str]) -> tuple[int, int] | None:
    """Which columns hold question and answer."""
    known = {name.strip().strip("\"'").lower(): i for i, name in reversed(list(enumerate(names)))}
    question = next((known[name] for name in QUESTION_COLUMNS if name in known), None)
    answer = next((known[name] for name in ANSWER_COLUMNS if name in known), None)
    return None if question is None or answer is None else (question, answer)


def _as_text(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as "column: value" lines; a file of one row, or of one column, as it stands."""
    names = rows[0]
    if len(rows) == 1 or len(names) == 1:
        yield from (" | ".join(row) for row in rows)
        return
    for row in rows[1:]:
        named = [*names, *(f"column {i + 1}" for i in range(len(names), len(row)))]
        yield "\n".join(f"{name}: {value}" if name else value for name, value in zip(named, row, strict=False) if value)


def _json_pairs(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines() if "\n" not in text else text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableDocument(f"{path.name}, line {number}: is not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UnreadableDocument(f"{path.name}, line {number}: is not a JSON object with {WANTED}.")
        names = list(row)
        columns = _question_and_answer(names)
        if columns is None:
            raise UnreadableDocument(f"{path.name}, line {number}: lacks fields; a JSONL file needs {WANTED}.")
        yield _said(row, names[columns[0]]), _said(row, names[columns[1]])


def _said(row: Mapping[str, object], name: str) -> str:
    """A field as text: a list (of accepted answers) gives its first entry."""
    value = row[name]
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, dict):
        value = value.get("text", "")
    return value if isinstance(value, str) else "" if value is None else str(value)
