"""Files that are whole or not there: plain files opened without following links, atomic writes, a lock.

Never follows a link, never opens what is no regular file, never reads more than it was told to. A crash at any point
leaves the old content or the new. Used by the registry and its checks.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from adapters.errors import AdapterError
from adapters.strict_json import shown

LOCK_SECONDS = 60.0
"""The longest that a change may take while it holds the lock: an adapter of gigabytes is read once and hashed."""
PIECE_BYTES = 1 << 20


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the operating system says into a message for a person."""
    try:
        yield
    except OSError as error:
        raise AdapterError(
            f"{what}: {error.strerror or error}. Make room or permit reading and writing, then try again."
        ) from error


@contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Be the only thread of the only process in this block, per `path`. A process that dies lets go.

    Raises:
        AdapterError: somebody else kept it for longer than `seconds`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while not held(descriptor):
            if time.monotonic() > deadline:
                raise AdapterError(f"{path.parent} is being changed by another process. Wait for it, then try again.")
            time.sleep(0.005)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a child forked meanwhile has it open, too
    finally:
        os.close(descriptor)


def held(descriptor: int) -> bool:
    """Take the lock of an open file or folder if nobody has it; closing the descriptor gives it back."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def entries(folder: Path) -> tuple[str, ...]:
    """Names in a folder that holds nothing but plain files of its own, sorted.

    Raises:
        AdapterError: it is a link or no folder, or holds links, folders, devices or files shared with elsewhere.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise AdapterError(f"{folder} is no folder (links are not followed). An adapter is a folder with two files.")
    with explained(f"{folder} cannot be read"), os.scandir(folder) as found:
        names = []
        for entry in found:
            _check_plain(folder, entry.name, entry.stat(follow_symlinks=False))
            names.append(entry.name)
    return tuple(sorted(names))


@contextmanager
def opened(folder: Path, name: str, bytes_max: int) -> Iterator[BufferedReader]:
    """A plain file of `folder`, open for reading.

    Raises:
        AdapterError: it is missing, larger than `bytes_max`, or no plain file.
    """
    path = folder / name
    try:
        _check_plain(folder, name, path.lstat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise AdapterError(f"{path} cannot be read ({error.strerror}).") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check_plain(folder, name, found)
        if found.st_size > bytes_max:
            raise AdapterError(f"{path} has {found.st_size} bytes; more than {bytes_max} are refused unread.")
        yield file


def copy(source: BufferedReader, target: Path, bytes_max: int) -> None:
    """Write what `source` holds to a new file and sync it.

    Raises:
        AdapterError: `source` goes on after `bytes_max`.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        left = bytes_max
        while piece := source.read(PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise AdapterError(f"{target.name} goes on after {bytes_max} bytes.")
            file.write(piece)
        file.flush()
        os.fsync(descriptor)


def write_whole(path: Path, content: bytes, part: Path) -> None:
    """Replace a file in one step.

    Args:
        path: appears whole or stays as it was.
        content: all of it.
        part: where it is written first, on the same disk. Nobody else may use that name at the same time.
    """
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make names that were made, renamed or removed in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_plain(folder: Path, name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AdapterError(f"{folder}: {shown(name)} is a link, a folder or a device; an adapter holds plain files.")
    if found.st_nlink > 1:  # none: replaced by a newer one while it was opened
        raise AdapterError(f"{folder}: {shown(name)} is shared with another place (a hard link). Copy the file.")
