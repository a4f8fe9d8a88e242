"""Bytes of a file to text, whatever its encoding; refuses what is empty, too large, or no text at all.

Guesses an encoding only where nothing says it. Parses no format. Called by the loaders.
"""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from knowledge.errors import UnreadableDocument

BYTES_MAX = 64 * 1024 * 1024
"""A larger file is refused: no page of documentation comes near it."""
SAMPLE = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EASTERN = re.compile(r"cp932|shift_jis.*|euc_.*|iso2022.*|gb.*|hz|big5.*|cp949|cp950|johab")
_SCRIPTS = re.compile(
    r"cp125[13456]|koi8.*|iso8859_[5678]|iso8859_11|cp86[246]|cp855|cp737|cp874|tis_620|mac_(cyrillic|greek)"
)
_CENTRAL = frozenset(("Polish", "Czech", "Hungarian", "Slovak", "Slovene", "Croatian", "Romanian"))
_BINARY = ((b"%PDF-", "PDF"), (b"PK\x03\x04", "ZIP or Office"), (b"\xd0\xcf\x11\xe0", "Office"), (b"\x89PNG", "PNG"))
_CONTROLS = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
CONTROLS_MAX = 0.02
"""Share of control characters above which something is no text."""


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        UnreadableDocument: it cannot be read, is no file, is empty, or is larger than `BYTES_MAX`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableDocument(f"{path.name}: is not a regular file.")
        if status.st_size > BYTES_MAX:
            raise UnreadableDocument(too_large(path, status.st_size))
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise UnreadableDocument(f"{path.name}: cannot be read ({error.strerror}).") from error
    if len(data) > BYTES_MAX:
        raise UnreadableDocument(too_large(path, len(data)))
    if not data.strip(b"\0 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise UnreadableDocument(f"{path.name}: is empty.")
    return data


def too_large(path: Path, size: int) -> str:
    """The refusal of a file of `size` bytes, in words."""
    return (
        f"{path.name}: is too large ({size / 1e6:,.0f} MB, at most {BYTES_MAX / 1e6:,.0f} MB are read). "
        "Split it into smaller files."
    )


def read_text(path: Path) -> str:
    """The text of a file, decoded.

    Raises:
        UnreadableDocument: as `read_bytes`, or it holds no text.
    """
    data = read_bytes(path)
    for magic, kind in _BINARY:
        if data.startswith(magic):
            raise UnreadableDocument(
                f"{path.name}: is a {kind} file, not text as its name says. Rename it to what it is."
            )
    text = decode(data)
    head = text[:SAMPLE]
    if len(_CONTROLS.findall(head)) > CONTROLS_MAX * len(head):
        raise UnreadableDocument(f"{path.name}: holds binary data, not text as its name says.")
    return text


def decode(data: bytes, declared: str = "") -> str:
    """Text of `data`: by byte order mark, UTF-16 without one, UTF-8, what it declares, the likeliest other encoding.

    Args:
        data: the bytes.
        declared: an encoding that the content names itself (HTML does).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    wide = _utf16_without_mark(data)
    if wide:
        return data.decode(wide, "replace")
    for encoding in ("utf-8", declared):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    if _is_utf8_but_for_a_few(data):
        return data.decode("utf-8", "replace")
    return data.decode(_likeliest(data), "replace")


def _utf16_without_mark(data: bytes) -> str:
    sample = data[:SAMPLE]
    half = len(sample) // 2
    if half < 2:
        return ""
    even, odd = sample[0 : 2 * half : 2].count(0), sample[1 : 2 * half : 2].count(0)
    if odd > 0.4 * half and even < 0.1 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.1 * half:
        return "utf-16-be"
    return ""


def _is_utf8_but_for_a_few(data: bytes) -> bool:
    text = data[:SAMPLE].decode("utf-8", "replace")
    beyond = sum(character > "\x7f" for character in text)
    return beyond >= 20 and text.count("\ufffd") < 0.1 * beyond


def _likeliest(data: bytes) -> str:
    """An encoding that is neither UTF-8 nor UTF-16: guessed for other scripts, else Windows-1252."""
    from charset_normalizer import from_bytes

    beyond = re.search(rb"[\x80-\xff]", data)
    start = max(0, beyond.start() - SAMPLE // 2) if beyond else 0
    best = from_bytes(data[start : start + SAMPLE]).best()
    if best is not None and (
        _EASTERN.fullmatch(best.encoding)
        or (_SCRIPTS.fullmatch(best.encoding) and best.coherence > 0.2)
        or (best.encoding in ("cp1250", "iso8859_2") and best.language in _CENTRAL)
    ):
        return best.encoding
    return "cp1252"
