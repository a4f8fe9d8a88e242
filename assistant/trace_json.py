"""A trace as JSON and back, without loss; each passage is written once, however often it is referred to.

Pydantic checks every field on the way back, so a damaged record raises instead of surprising a page. Called by
`traces.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.types import Trace

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def dump_trace(trace: Trace) -> str:
    """The record of a trace."""
    raw = asdict(trace)
    passages: dict[str, Any] = {}
    for part in (*raw["evidence"]["hits"], *raw["evidence"]["sentences"]):
        passages[part["passage"]["id"]] = part["passage"]
        part["passage"] = part["passage"]["id"]
    return json.dumps({"trace": raw, "passages": passages}, ensure_ascii=False, separators=(",", ":"))


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


@cache
def _adapter() -> TypeAdapter[Trace]:
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)
