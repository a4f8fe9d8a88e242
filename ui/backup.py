"""`rungs backup` and `rungs restore`: a home as one file, and back.

In the file: the database as of one moment, adapters with their gate reports, calibration, uploaded documents. Left out
is what is made again from these: weights, vectors, trainings under way. With PostgreSQL the database is backed up by
its own tools, and the file says so.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError
from knowledge.types import Progress
from ui.steps import Arguments, Command, Steps, progress_step

if TYPE_CHECKING:
    from assistant.build import Rungs

ABOUT, DATABASE = "backup.json", "rungs.db"
FORMAT = 1
KEPT = ("adapters", "gates", "uploads", "calibration.json", "bundled-adapter", "demo-loaded")
"""Files and folders of a home, beside the database."""


def backup(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Write a home as one file; it appears whole or not at all. Questions go on meanwhile."""
    out, home = Path(str(arguments["out"])), rungs.settings.home.resolve()
    files = [(DATABASE, None), *((name, home / name) for name in _names(home))]
    sqlite = not rungs.settings.database
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        part = Path(aside) / "part"
        with tarfile.open(part, "w") as tar:
            _add_text(tar, ABOUT, json.dumps(_about(sqlite), indent=1))
            for number, (name, path) in enumerate(files):
                yield progress_step(Progress(number, len(files), name))
                if cancel.is_set():
                    return
                if path is not None:
                    tar.add(path, name, recursive=False)
                elif sqlite:
                    tar.add(_copy_of(home / DATABASE, Path(aside) / DATABASE), DATABASE)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(out)
    yield {"result": {"file": str(out), "bytes": out.stat().st_size, "database": "included" if sqlite else "elsewhere"}}


def restore(home: Path, file: Path) -> dict[str, Any]:
    """Make a home of a backup. The folder must not hold a database yet: nothing is overwritten.

    Raises:
        AssistantError: the file is no backup, is damaged, or the home is in use.
    """
    if (home / DATABASE).exists():
        raise AssistantError(f"{home} holds a database already. Restore into another --home, or move that one away.")
    try:
        with tarfile.open(file) as tar:
            members = list(_members(tar, file))
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            tar.extractall(home, members, filter="data")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise AssistantError(f"{file} cannot be restored ({error}). Is it a file of `rungs backup`?") from error
    about = json.loads((home / ABOUT).read_text(encoding="utf-8"))
    (home / ABOUT).unlink()
    return {"home": str(home), "files": len(members) - 1, **about}


def _members(tar: tarfile.TarFile, file: Path) -> Iterator[tarfile.TarInfo]:
    """What a backup may hold: plain files below the names that one writes."""
    first = tar.next()
    if first is None or first.name != ABOUT:
        raise AssistantError(f"{file} is no file of `rungs backup`.")
    for member in tar.getmembers():
        top = PurePosixPath(member.name).parts[0] if member.name else ""
        if not member.isfile() or top not in (ABOUT, DATABASE, *KEPT):
            raise AssistantError(f"{file} holds {member.name!r}, which no backup does. Nothing was restored.")
        yield member


def _names(home: Path) -> Iterator[str]:
    for name in KEPT:
        path = home / name
        if path.is_file():
            yield name
        elif path.is_dir():
            yield from (
                inner.relative_to(home).as_posix()
                for inner in sorted(path.rglob("*"))
                if inner.is_file() and not inner.is_symlink()
            )


def _copy_of(database: Path, target: Path) -> Path:
    """The database as of now, while others write to it (SQLite's online backup)."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def _about(sqlite: bool) -> dict[str, Any]:
    try:
        installed = version("rungs")
    except PackageNotFoundError:
        installed = "unknown"
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return {"format": FORMAT, "version": installed, "made_at": made, "database": "included" if sqlite else "elsewhere"}


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


COMMANDS: Mapping[str, Command] = {"backup": backup}
