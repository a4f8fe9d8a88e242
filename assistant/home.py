"""RUNGS_HOME as a folder: one owner process, the address and the token of a running server.

POSIX file locks say who owns it, so a crash never leaves a lock behind. Opens no database. Called by the command line
and the server.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.errors import AssistantError, HomeInUse

LOCK, SERVER = "lock", "server.json"
PROBE_SECONDS = 0.3
"""How long an owner waits for a look at the lock by `running_server` to pass, which takes microseconds."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a running server takes commands, and the token that lets them in."""

    url: str
    token: str
    pid: int


@contextmanager
def owned(home: Path) -> Iterator[Path]:
    """Own a home for as long as the block runs; what a server that died left behind is removed.

    Raises:
        HomeInUse: another process owns it; the message names its pid.
        AssistantError: the folder cannot be made or written.
    """
    try:
        make_home(home)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(home, error) from error
    try:
        if not _locked(descriptor):
            pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise HomeInUse(f"{home} is in use by another Rungs process (pid {pid}). Wait for it, or stop it.")
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            (home / SERVER).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(home, error) from error
        yield home
    finally:
        os.close(descriptor)


def make_home(home: Path) -> Path:
    """Make the folder if it is not there, readable by its owner alone; one that is there keeps its permissions.

    Raises:
        AssistantError: it cannot be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(home, error) from error
    return home


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


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken, within the time that a look at it may hold it."""
    deadline = time.monotonic() + PROBE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _unusable(home: Path, error: OSError) -> AssistantError:
    why = error.strerror or error
    return AssistantError(f"{home} cannot be used as RUNGS_HOME ({why}). Choose another folder with --home.")
