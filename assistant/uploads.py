"""Documents that came over the network: kept in the home, one folder for each source, and taken in from there.

What is acknowledged is on disk. A name that leads out of the folder is refused. Called by the REST interface, the
console and `answer_pairs.py`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import IO

from assistant.errors import AssistantError

UPLOADS = "uploads"
"""Folder of a home."""
NAME_BYTES_MAX = 200
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def folder_of(home: Path, source: str) -> Path:
    """Where a source's files lie; there may be none yet. The path is the source's name in the knowledge, too.

    Raises:
        AssistantError: that is no name for a source.
    """
    if not _SOURCE.fullmatch(source):
        raise AssistantError("a source is named by small letters, digits, - and _, at most 64.")
    return home.resolve() / UPLOADS / source


def name_of(home: Path, source: str) -> str | None:
    """The short name of a source that lies in the home's uploads; None of every other source."""
    folder = Path(source)
    return folder.name if folder.parent == home.resolve() / UPLOADS and _SOURCE.fullmatch(folder.name) else None


def document_name(given: str | None) -> str:
    """A file's name without a path.

    Raises:
        AssistantError: it has none that a file can have.
    """
    bare = Path((given or "").replace("\\", "/")).name
    length = len(bare.encode("utf-8", "replace"))
    if not bare or bare.startswith(".") or not bare.isprintable() or length > NAME_BYTES_MAX:
        raise AssistantError(f"{(given or '')[:80]!r} is no name for a document.")
    return bare


def alone_in(folder: Path) -> threading.Lock:
    """Held while a source's files are changed and taken in: two at once could store the older of two versions."""
    return _locks[folder]


def keep(home: Path, source: str, name: str | None, content: IO[bytes]) -> Path:
    """Keep a file whole, in place of one of the same name.

    Raises:
        AssistantError: that is no name for a source or a document.
    """
    folder, bare = folder_of(home, source), document_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder.parent, delete=False) as part:
        try:
            shutil.copyfileobj(content, part)
            part.flush()
            return Path(part.name).replace(folder / bare)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def forget(home: Path, source: str, document: str | None = None) -> None:
    """Remove the files of a source, or of one of its documents; only what lies in the home's uploads.

    Args:
        home: whose.
        source: the source's name in the knowledge: its folder.
        document: path within the folder; None is the whole folder.
    """
    if name_of(home, source) is None:
        return
    folder = Path(source)
    if document is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    file = folder / document
    if file.resolve().is_relative_to(folder.resolve()):
        file.unlink(missing_ok=True)
