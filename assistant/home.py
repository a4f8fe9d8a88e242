"""RUNGS_HOME as a folder: one owner process, the address of a running server, secrets.

POSIX file locks say who owns it, so a crash never leaves a lock behind. Opens no database. Called by the command line
and the server.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.errors import AssistantError, HomeInUse

LOCK, SERVER = "lock", "server.json"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a running server takes commands, and the token that lets them in."""

    url: str
    token: str
    pid: int


@contextmanager
def owned(home: Path) -> Iterator[Path]:
    """Own a home for as long as the block runs; makes the folder, readable by its owner alone.

    Raises:
        HomeInUse: another process owns it; the message names its pid.
        AssistantError: the folder cannot be made or written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise AssistantError(
            f"{home} cannot be used as RUNGS_HOME ({error.strerror}). Choose another folder with --home."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise HomeInUse(
                f"{home} is in use by another Rungs process (pid {pid}). Wait for it, or stop it."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield home
    finally:
        os.close(descriptor)


@contextmanager
def announced(home: Path, url: str) -> Iterator[RunningServer]:
    """Tell the command line where the server is, for as long as the block runs. The caller owns the home."""
    server = RunningServer(url, secrets.token_urlsafe(32), os.getpid())
    draft = home / (SERVER + ".part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(server), file)
    draft.replace(home / SERVER)
    try:
        yield server
    finally:
        (home / SERVER).unlink(missing_ok=True)


def running_server(home: Path) -> RunningServer | None:
    """The server that owns this home, if one does. One that died without a word is not reported."""
    try:
        with (home / LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raw = json.loads((home / SERVER).read_text(encoding="utf-8"))
                return RunningServer(str(raw["url"]), str(raw["token"]), int(raw["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def secret(home: Path, name: str) -> str:
    """A random secret of this home that survives restarts; made on first use, readable by the owner alone."""
    path = home / f"{name}.secret"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    return path.read_text(encoding="utf-8")
