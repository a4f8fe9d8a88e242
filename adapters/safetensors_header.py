"""Reads the header of a safetensors file: names, types, shapes, and whether every byte of the data has one owner.

Refuses lengths that cannot be true, types that no adapter has, and tensors that overlap, leave gaps or end elsewhere
than the file does. Reads no tensor data. Used by `checks.py`; the format: github.com/huggingface/safetensors, README.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

from adapters.errors import AdapterError
from adapters.strict_json import parse, shown

LENGTH_BYTES = 8
HEADER_BYTES_MAX = 4 * 1024 * 1024
"""An adapter of every matrix in a model of 126 layers has 0.3 MB of header."""
DEPTH = 3
TYPES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number. Integers and 8-bit floats are no adapters' types."""
METADATA = "__metadata__"
FIELDS = frozenset({"dtype", "shape", "data_offsets"})
DIMENSION_MAX = 1 << 32
NAME_MAX = 300


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header describes it."""

    name: str
    type: str
    shape: tuple[int, ...]
    begin: int
    """Bytes from the start of the file."""
    size: int


def read_header(file: BinaryIO, size: int, where: str) -> tuple[Tensor, ...]:
    """The tensors of an open file, in the order of their data.

    Args:
        file: at its start.
        size: bytes of the whole file.
        where: the file's name, for messages.

    Raises:
        AdapterError: the file is no whole safetensors file, or one that an adapter never is.
    """
    try:
        return _read(file, size, where)
    except ValueError as error:
        raise AdapterError(f"{where} is no whole safetensors file of an adapter ({error}). Get it again.") from error


def _read(file: BinaryIO, size: int, where: str) -> tuple[Tensor, ...]:
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    start = LENGTH_BYTES + length
    if size < LENGTH_BYTES or start > size:
        raise ValueError(f"a header of {length} bytes in a file of {size}: it is truncated")
    if length > HEADER_BYTES_MAX:
        raise ValueError(f"a header of {length} bytes; more than {HEADER_BYTES_MAX} are refused unread")
    raw = file.read(length)
    if not raw.startswith(b"{"):
        raise ValueError("its header does not begin with a brace")
    header = parse(raw, f"{where}: its header", DEPTH)
    _check_metadata(header.pop(METADATA, {}))
    tensors = sorted((_tensor(name, said, start) for name, said in header.items()), key=lambda tensor: tensor.begin)
    end = start
    for tensor in tensors:
        if tensor.begin != end:
            raise ValueError(f"{shown(tensor.name)} begins at byte {tensor.begin}, not at {end}: an overlap or a gap")
        end += tensor.size
    if end != size:
        raise ValueError(f"its tensors end at byte {end}, the file at {size}")
    if not tensors:
        raise ValueError("it holds no tensors")
    return tuple(tensors)


def _check_metadata(said: object) -> None:
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError(f"{METADATA} is no table of strings")


def _tensor(name: str, said: object, start: int) -> Tensor:
    if len(name) > NAME_MAX:
        raise ValueError(f"a tensor's name of {len(name)} characters")
    where = shown(name)
    if not isinstance(said, dict) or set(said) != FIELDS:
        raise ValueError(f"{where} is not described by {', '.join(sorted(FIELDS))}")
    kind, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(f"{where} is of type {shown(str(kind))}; only {', '.join(TYPES)} are adapters' types")
    if not _counts(shape, DIMENSION_MAX) or len(shape) != 2:
        raise ValueError(f"{where} is no matrix: its shape is {shown(str(shape))}")
    if not _counts(offsets, 1 << 63) or len(offsets) != 2:
        raise ValueError(f"{where} lies at {shown(str(offsets))}, which is no place")
    begin, end = offsets
    if end - begin != math.prod(shape) * TYPES[kind]:
        raise ValueError(f"{where} has {end - begin} bytes, which is not what {kind} {tuple(shape)} takes")
    return Tensor(name, kind, tuple(shape), start + begin, end - begin)


def _counts(value: object, maximum: int) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < maximum for item in value)
