"""One adapter as one file: a zip archive of exactly three members, written and read by a fixed layout.

The members stand in a fixed order, uncompressed, without dates, comments or extra fields, so that the content decides
every byte. Reading therefore believes nothing that an archive says about itself: each header must be the one that this
module would have written, and behind the last member nothing else may follow. That leaves no room for other members,
paths, links, encryption, compression or a second directory. Any unzip program opens such a file.
Called by the registry.

Layout: PKWARE APPNOTE.TXT 6.3.3, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (end).
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adapters.card import CARD_BYTES_MAX
from adapters.checks import CARD, TENSOR_BYTES_MAX
from adapters.disk import PIECE_BYTES, opened, sync
from adapters.errors import AdapterError
from adapters.export import CONFIG, TENSORS
from adapters.peft_config import CONFIG_BYTES_MAX
from adapters.strict_json import shown

MEMBERS = {CARD: CARD_BYTES_MAX, CONFIG: CONFIG_BYTES_MAX, TENSORS: TENSOR_BYTES_MAX}
"""Names in their order, and the most bytes of each."""
LOCAL, DIRECTORY, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
VERSION = 20
MADE_ON_UNIX = 3 << 8 | VERSION
DATE = 1 << 5 | 1
"""1980-01-01, the first day that the format knows."""
PLAIN_FILE = 0o100600 << 16
LOCAL_FIELDS = struct.Struct("<4sHHHHHIIIHH")
DIRECTORY_FIELDS = struct.Struct("<4sHHHHHHIIIHHHHHII")
END_FIELDS = struct.Struct("<4sHHHHIIH")


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    crc: int
    size: int
    at: int
    """Where its header begins."""

    def header(self) -> bytes:
        name = self.name.encode()
        sizes = (self.crc, self.size, self.size, len(name), 0)
        return LOCAL_FIELDS.pack(LOCAL, VERSION, 0, 0, 0, DATE, *sizes) + name

    def entry(self) -> bytes:
        name = self.name.encode()
        sizes = (self.crc, self.size, self.size, len(name), 0, 0, 0, 0, PLAIN_FILE, self.at)
        return DIRECTORY_FIELDS.pack(DIRECTORY, MADE_ON_UNIX, VERSION, 0, 0, 0, DATE, *sizes) + name

    @property
    def end(self) -> int:
        return self.at + len(self.header()) + self.size


def pack(folder: Path, card: bytes, out: Path) -> Path:
    """Write an adapter as one file; the same content makes the same bytes.

    Args:
        folder: holds the configuration and the tensors, checked by the caller.
        card: content of the card as it is to travel.
        out: appears whole or not at all; what was there is replaced.

    Raises:
        AdapterError: a file of the folder is no plain file or too large.
        OSError: `out` cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    part = Path(made)
    try:
        with os.fdopen(handle, "wb") as file, ExitStack() as stack:
            files = {name: stack.enter_context(opened(folder, name, MEMBERS[name])) for name in (CONFIG, TENSORS)}
            members = [_append(file, CARD, card)]
            members += [_append_file(file, name, files[name]) for name in (CONFIG, TENSORS)]
            file.write(_directory(members))
            file.flush()
            os.fsync(handle)
        part.replace(out)
        sync(out.parent)
    finally:
        part.unlink(missing_ok=True)
    return out


def unpack(path: Path, folder: Path, tensor_bytes_max: int) -> bytes:
    """Lay the configuration and the tensors of a file into `folder`, and return the card, all of them unchecked.

    Args:
        path: what `pack` wrote, or something else.
        folder: empty; what it holds after an error is for the caller to delete.
        tensor_bytes_max: more tensors than that are refused unread.

    Raises:
        AdapterError: the file is none that `pack` wrote, or was cut, changed or extended.
    """
    if not path.is_file():
        raise AdapterError(f"{path} is no file. An adapter travels as one file, as `rungs adapters export` writes it.")
    try:
        with path.open("rb") as file:
            return _unpack(file, folder, {**MEMBERS, TENSORS: min(MEMBERS[TENSORS], tensor_bytes_max)})
    except ValueError as error:
        raise AdapterError(f"{path} is no whole adapter file as Rungs exports it ({error}). Get it again.") from error


def _unpack(file: BinaryIO, folder: Path, bytes_max: dict[str, int]) -> bytes:
    members: list[_Member] = []
    card = b""
    for name, most in bytes_max.items():
        member = _read_header(file, name, members[-1].end if members else 0)
        if member.size > most:
            raise ValueError(f"{name} of {member.size} bytes; more than {most} are refused unread")
        if name == CARD:
            card = file.read(member.size)
            crc = zlib.crc32(card)
        else:
            crc = _lay_down(file, folder / name, member.size)
        if crc != member.crc:
            raise ValueError(f"{name} is cut or changed: its checksum differs")
        members.append(member)
    directory = _directory(members)
    if file.read(len(directory) + 1) != directory:
        raise ValueError("behind its three members stands something else than their list")
    return card


def _read_header(file: BinaryIO, name: str, at: int) -> _Member:
    """The header of the member that must come next."""
    raw = file.read(LOCAL_FIELDS.size)
    if len(raw) < LOCAL_FIELDS.size or not raw.startswith(LOCAL):
        raise ValueError(f"no member where {name} must begin")
    _, _, flags, method, _, _, crc, packed, size, length, _ = LOCAL_FIELDS.unpack(raw)
    found = file.read(length)
    if found != name.encode():
        raise ValueError(f"a member {shown(found.decode('utf-8', 'replace'))} where {name} must be")
    if flags & 1:
        raise ValueError(f"{name} is encrypted")
    if method or packed != size:
        raise ValueError(f"{name} is compressed")
    member = _Member(name, crc, size, at)
    if raw + found != member.header():
        raise ValueError(f"the header of {name} says more than its name, size and checksum")
    return member


def _lay_down(file: BinaryIO, target: Path, size: int) -> int:
    """Copy `size` bytes, or what is left of the file, to `target`. Returns their CRC-32."""
    crc, left = 0, size
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            crc = zlib.crc32(piece, crc)
            left -= len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return crc


def _append(file: BinaryIO, name: str, content: bytes) -> _Member:
    member = _Member(name, zlib.crc32(content), len(content), file.tell())
    file.write(member.header() + content)
    return member


def _append_file(file: BinaryIO, name: str, source: BinaryIO) -> _Member:
    """The header needs the checksum, so the source is read twice."""
    crc = size = 0
    while piece := source.read(PIECE_BYTES):
        crc, size = zlib.crc32(piece, crc), size + len(piece)
    member = _Member(name, crc, size, file.tell())
    file.write(member.header())
    source.seek(0)
    while piece := source.read(PIECE_BYTES):
        file.write(piece)
    return member


def _directory(members: list[_Member]) -> bytes:
    entries = b"".join(member.entry() for member in members)
    count = len(members)
    return entries + END_FIELDS.pack(END, 0, 0, count, count, len(entries), members[-1].end, 0)
