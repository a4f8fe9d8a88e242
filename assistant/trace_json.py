"""A trace as JSON and back, without loss; each passage is written once, however often it is referred to.

Pydantic checks every field on the way back, so a damaged record raises instead of surprising a page. Called by
`traces.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.types import Answer, Trace
from knowledge.text import clean
from knowledge.types import Passage

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def dump_trace(trace: Trace) -> str:
    """The record of a trace, in text that every database takes."""
    passages: dict[str, Passage] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Passage):
            passages[value.id] = value
            return value.id
        return _fields(value)

    told = _json(trace, plain)
    known = _json({id: _fields(passage) for id, passage in passages.items()})
    record = f'{{"trace":{told},"passages":{known}}}'
    if "\\u0000" in record:
        record = _json(_without_nul(json.loads(record)))
    return clean(record)


def parse_trace(record: str) -> Trace:
    """The trace of a record.

    Raises:
        ValueError: the record is damaged.
    """
    raw = json.loads(record)
    trace, passages = raw["trace"], raw["passages"]
    for part in (*trace["evidence"]["hits"], *trace["evidence"]["sentences"]):
        part["passage"] = passages[part["passage"]]
    return _adapter().validate_python(trace)


def parse_answer(record: str) -> Answer:
    """The answer alone of a trace's record; a tenth of the work.

    Raises:
        ValueError: the record is damaged.
    """
    return _answer_adapter().validate_python(json.loads(record)["trace"]["answer"])


def _json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=default)


def _fields(value: Any) -> dict[str, Any]:
    """One level of `dataclasses.asdict`, which would copy everything below, too."""
    return dict(value) if isinstance(value, Mapping) else {f.name: getattr(value, f.name) for f in fields(value)}


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nul(item) for item in value]
    return value.replace("\0", " ") if isinstance(value, str) else value


@cache
def _adapter() -> TypeAdapter[Trace]:
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)


@cache
def _answer_adapter() -> TypeAdapter[Answer]:
    from pydantic import TypeAdapter

    return TypeAdapter(Answer)
