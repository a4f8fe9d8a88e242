"""JSON from strangers: bounded in depth, no name twice, no NaN, no text that a terminal or a page would obey.

Python's reader keeps the last of two equal names and other readers keep the first, so a file could say one thing to the
check and another to the loader. Reads bytes that are in memory already; their number is the caller's to bound. Used by
every reader in this package.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.errors import AdapterError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Every string, closed or not; always matches from its first quote, so that no text takes more than linear time."""
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Terminal controls, reversals of reading direction, and halves of characters that no encoder takes."""
FAULTS_SHOWN = 3


def parse(raw: bytes, where: str, depth_max: int) -> dict[str, Any]:
    """The JSON object that `raw` is.

    Args:
        raw: UTF-8.
        where: what is read, for messages.
        depth_max: how many brackets may be open at once.

    Raises:
        AdapterError: it is no object, or not one that every reader would read the same way.
    """
    try:
        text = raw.decode("utf-8")
        if _deeper_than(depth_max, text):
            raise ValueError(f"brackets nested more than {depth_max} deep")
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
        if not isinstance(value, dict):
            raise ValueError("no object")
        for leaf in _leaves(value):
            _check_leaf(leaf)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{where} is no JSON that can be trusted ({error}).") from error
    return value


def read_as(kind: type[T], value: object, where: str) -> T:
    """`value`, as `parse` returned it, as a dataclass: no type is converted and no field is left over.

    Raises:
        AdapterError: names the first fields that do not fit.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(kind).validate_json(json.dumps(value), strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)[:FAULTS_SHOWN]
        said = "; ".join(f"{shown('.'.join(map(str, fault['loc'])))}: {fault['msg']}" for fault in faults)
        raise AdapterError(f"{where} cannot be read ({said}).") from error
    return found


def dump(value: Any, where: str) -> bytes:
    """A JSON object as bytes that are the same for the same content.

    Raises:
        AdapterError: it holds what JSON cannot say, or what `parse` would refuse.
    """
    try:
        for leaf in _leaves(value):
            _check_leaf(leaf)
        return f"{json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise AdapterError(f"{where} cannot be written ({error}).") from error


def shown(text: str) -> str:
    """A stranger's text for a message: short, quoted, ASCII."""
    return ascii(text if len(text) <= 100 else f"{text[:100]}...")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _deeper_than(depth_max: int, text: str) -> bool:
    depth = 0
    for bracket in re.finditer(r"[][{}]", STRINGS.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > depth_max:
            return True
    return False


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {shown(name)} stands there twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _check_leaf(leaf: object) -> None:
    if isinstance(leaf, str) and OBEYED.search(leaf):
        raise ValueError(f"control characters in {shown(leaf)}")
    if isinstance(leaf, float) and not math.isfinite(leaf):
        raise ValueError("a number beyond what can be counted")
