"""Rows to examples: from JSONL files, from question-answer pairs, from whatever stores corrections.

Checks what one row can be checked for and says which line is wrong; judges no row against another (that is
`dataset.py`). Reads line by line, so that one giant row costs no memory. Called by the command line and by whoever
holds approved answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.duplicates import normalised
from adapters.errors import BadTrainingSet
from adapters.types import EXPECTS, Example, Expect, Passage, Room, Turn

ROW_BYTES_MAX = 1024 * 1024
ROWS_MAX = 200_000
FAULTS_SHOWN = 5
FAULTS_MAX = 100
"""Faults after which a file is not read on."""
ROW = 'one JSON object per line with at least "question" and "answer"'


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What holds for rows that do not say it themselves."""

    decline: str
    """The sentence that serving declines with: a row whose answer is this one teaches declining."""
    source: str = ""
    approved_by: str = ""
    """Who vouches for the rows; empty leaves each to its own `approved_by`."""
    consent: bool = False


def read_rows(path: Path, unsaid: Unsaid, room: Room | None = None) -> tuple[Example, ...]:
    """Read a JSONL file of training rows.

    A row holds `question` and `answer`; optionally `id`, `history` (turns with `role` and `text`), `passages` (texts,
    or objects with `text`, `address`, `document`), `expect`, `source`, `licence`, `document`, `conversation`,
    `approved_by`, `consent`, `rejected` and `distance`. Other fields are ignored.

    Args:
        path: the file.
        unsaid: for what rows leave out; its `source` is the file's name where it is empty.
        room: refuses rows that are longer than the context, where it is given.

    Raises:
        BadTrainingSet: the file cannot be read or holds no row, a row is no training row, is too long, or an id stands
            twice; names the lines.
    """
    source = unsaid.source or path.name
    unsaid = Unsaid(unsaid.decline, source, unsaid.approved_by, unsaid.consent)
    found: list[Example] = []
    faults: list[str] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            example = _from_line(line, f"{source}:{number}", unsaid)
            _check_room(example, room)
            if example.id in lines:
                raise ValueError(f"id {example.id[:80]!r} stands in line {lines[example.id]}, too; ids must be unique")
        except (ValueError, RecursionError) as error:
            faults.append(f"line {number}: {str(error)[:300]}")
            if len(faults) == FAULTS_MAX:
                break
            continue
        lines[example.id] = number
        found.append(example)
        if len(found) > ROWS_MAX:
            raise BadTrainingSet(f"training set {path} has more than {ROWS_MAX:,} rows. Split it.")
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise BadTrainingSet(f"training set {path}: {'; '.join(faults[:FAULTS_SHOWN])}{more}. Expected is {ROW}.")
    if not found:
        raise BadTrainingSet(f"training set {path} holds no rows. Expected is {ROW}.")
    return tuple(found)


def from_pairs(pairs: Iterable[tuple[str, str]], unsaid: Unsaid) -> tuple[Example, ...]:
    """Question-answer pairs as examples without passages.

    Raises:
        BadTrainingSet: a pair lacks a question or an answer; names its number, counted from 1.
    """
    examples = []
    for number, (question, answer) in enumerate(pairs, start=1):
        try:
            examples.append(example_of({"question": question, "answer": answer}, f"{unsaid.source}:{number}", unsaid))
        except ValueError as error:
            raise BadTrainingSet(f"pair {number} of {unsaid.source or 'the pairs'}: {error}") from error
    return tuple(examples)


def example_of(raw: Mapping[str, Any], id: str, unsaid: Unsaid) -> Example:
    """One example out of a JSON object; the fields are those of `read_rows`.

    Args:
        raw: the object.
        id: its id where it has none.
        unsaid: for what it leaves out.

    Raises:
        ValueError: a field is missing or of the wrong kind.
    """
    answer = _text(raw, "answer")
    passages = tuple(_passage(item) for item in _list(raw, "passages"))
    consent = raw.get("consent", unsaid.consent)
    if not isinstance(consent, bool):
        raise ValueError("`consent` must be true or false")
    return Example(
        id=_optional(raw, "id") or id,
        question=_text(raw, "question"),
        answer=answer,
        history=tuple(_turn(item) for item in _list(raw, "history")),
        passages=passages,
        expect=_expect(raw.get("expect"), answer, passages, unsaid.decline),
        source=_optional(raw, "source") or unsaid.source,
        licence=_optional(raw, "licence"),
        document=_optional(raw, "document"),
        conversation=_optional(raw, "conversation"),
        approved_by=_optional(raw, "approved_by") if "approved_by" in raw else unsaid.approved_by,
        consent=consent,
        rejected=_optional(raw, "rejected"),
        distance=_distance(raw.get("distance")),
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of the lines that hold something, a too long one cut off just above the limit."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(ROW_BYTES_MAX + 2):
                number += 1
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = file.readline(ROW_BYTES_MAX)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip() or len(line) > ROW_BYTES_MAX:
                    yield number, line
    except OSError as error:
        raise BadTrainingSet(f"training set {path} cannot be read ({error.strerror}). Check the path.") from error


def _from_line(line: bytes, id: str, unsaid: Unsaid) -> Example:
    if len(line) > ROW_BYTES_MAX:
        raise ValueError(f"the row has more than {ROW_BYTES_MAX // 1024} KiB; is a line break missing?")
    try:
        raw = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is not valid UTF-8 ({error.reason} at byte {error.start})") from error
    except ValueError as error:
        raise ValueError(f"is not valid JSON ({error})") from error
    if not isinstance(raw, dict):
        raise ValueError("is not a JSON object")
    return example_of(raw, id, unsaid)


def _check_room(example: Example, room: Room | None) -> None:
    if room and (tokens := room.tokens_of(example)) > room.tokens_max:
        raise ValueError(f"the row has {tokens:,} tokens, and the context holds {room.tokens_max:,}; shorten it")


def _expect(stated: object, answer: str, passages: tuple[Passage, ...], decline: str) -> Expect:
    """As stated where it is one of our words (golden rows use others); otherwise seen from the row itself."""
    for expect in EXPECTS:
        if stated == expect:
            return expect
    if decline and normalised(answer) == normalised(decline):
        return "decline"
    return "grounded" if passages else "style"


def _text(raw: Mapping[str, Any], name: str) -> str:
    text = raw.get(name)
    if not isinstance(text, str):
        raise ValueError(f"`{name}` is missing or is no text")
    text = _clean(text).strip()
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise ValueError(f"`{name}` is empty")
    return text


def _optional(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"`{name}` must be a text")
    return "" if value is None else _clean(str(value)).strip()


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    items = raw.get(name)
    if items is not None and not isinstance(items, list):
        raise ValueError(f"`{name}` must be a list")
    return items or []


def _passage(item: object) -> Passage:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict):
        raise ValueError("a passage must be a text, or an object with `text`")
    return Passage(_text(item, "text"), _optional(item, "address"), _optional(item, "document"))


def _turn(item: object) -> Turn:
    if not isinstance(item, dict) or item.get("role") not in ("user", "assistant"):
        raise ValueError("a turn of `history` must be an object with `role` (user or assistant) and `text`")
    return Turn(item["role"], _text(item, "text" if "text" in item else "content"))


def _distance(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1 or math.isnan(value):
        raise ValueError("`distance` must be a number from 0 to 1")
    return float(value)


def _clean(text: str) -> str:
    """Text that every tokenizer and file takes: NUL becomes a space, a lone surrogate becomes U+FFFD."""
    return text.replace("\0", " ").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
