"""Reads the header of a GGUF file: its metadata, its tensors, and whether the file is all there.

A vocabulary takes a third of a second, and a start or a promotion asks several times: what was read is kept.
Refuses a file whose magic, version, counts or tensor extents cannot be true, so that a damaged file never reaches the
C++ engine. Reads no tensor data. Used by the embedded model's files; the format is described in ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assistant.errors import ModelUnavailable

MAGIC = b"GGUF"
VERSIONS = (2, 3)
COUNT_MAX = 1_000_000
"""No real model has more tensors, keys or elements of one header array than a few hundred thousand."""
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """Innermost dimension first, as GGUF writes it."""
    kind: int
    """The `ggml_type` number."""
    offset: int
    """Bytes from the start of the tensor data."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before the tensor data."""

    metadata: Mapping[str, object]
    """Scalars, strings and lists by key."""
    tensors: tuple[TensorInfo, ...]

    def text(self, key: str, default: str = "") -> str:
        """A string value; `default` where the key is missing or no string."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, str) else default

    def number(self, key: str, default: int = 0) -> int:
        """An integer value; `default` where the key is missing or no integer."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, int) else default


class _Cursor:
    """A position in a mapped file; every read is bounds-checked."""

    def __init__(self, view: mmap.mmap) -> None:
        self.view = view
        self.at = 0

    def scalar(self, form: str) -> int | float | bool:
        (value,) = struct.unpack_from(form, self.view, self.at)
        self.at += struct.calcsize(form)
        return value  # type: ignore[no-any-return]

    def count(self, form: str = "<Q") -> int:
        value = int(self.scalar(form))
        if value > COUNT_MAX:
            raise ValueError(f"a count of {value}")
        return value

    def string(self) -> str:
        length = int(self.scalar("<Q"))
        if length > len(self.view) - self.at:
            raise ValueError("a string that runs past the end of the file")
        value = self.view[self.at : self.at + length]
        self.at += length
        return value.decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> object:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            if depth > 2:
                raise ValueError("arrays within arrays")
            inner = int(self.scalar("<I"))
            return [self.value(inner, depth + 1) for _ in range(self.count())]
        if kind not in SCALARS:
            raise ValueError(f"value type {kind}")
        return self.scalar(SCALARS[kind])


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of `path`.

    Raises:
        ModelUnavailable: the file is missing, is no GGUF file, or its tensors do not fit into it.
    """
    try:
        there = path.stat()
        return _read(path, there.st_size, there.st_mtime_ns, there.st_ino)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror or error}). Is the path right?") from error
    except (ValueError, struct.error, OverflowError) as error:
        raise ModelUnavailable(f"{path} is no whole GGUF file ({error}). Delete it and get it again.") from error


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int, inode: int) -> GgufHeader:
    """The header of a file that has not changed since."""
    if size < 32:
        raise ValueError(f"only {size} bytes")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _parse(_Cursor(view), size)


def _parse(cursor: _Cursor, size: int) -> GgufHeader:
    if cursor.view[:4] != MAGIC:
        raise ValueError("it does not begin with the letters GGUF")
    cursor.at = 4
    version = cursor.scalar("<I")
    if version not in VERSIONS:
        raise ValueError(f"version {version}")
    tensor_count, key_count = cursor.count(), cursor.count()
    metadata = {cursor.string(): cursor.value(int(cursor.scalar("<I"))) for _ in range(key_count)}
    tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= MIB:
        raise ValueError(f"alignment {alignment}")
    start = -(-cursor.at // alignment) * alignment
    for tensor in tensors:
        end = start + tensor.offset + _bytes(tensor)
        if end > size:
            raise ValueError(f"tensor {tensor.name} ends at byte {end}, the file at {size}: it is truncated")
    return GgufHeader(metadata, tensors)


def _tensor(cursor: _Cursor) -> TensorInfo:
    name = cursor.string()
    dimensions = int(cursor.scalar("<I"))
    if not 1 <= dimensions <= 4:
        raise ValueError(f"tensor {name[:80]} has {dimensions} dimensions")
    shape = tuple(int(cursor.scalar("<Q")) for _ in range(dimensions))
    return TensorInfo(name, shape, int(cursor.scalar("<I")), int(cursor.scalar("<Q")))


def _bytes(tensor: TensorInfo) -> int:
    """Size of the tensor's data; 0 for a quantisation that the `gguf` package does not know."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        block, width = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
    except (ValueError, KeyError):
        return 0
    elements = 1
    for length in tensor.shape:
        elements *= length
    return elements // int(block) * int(width)
