"""`rungs backup` and `rungs restore`: a home as one file, and back.

In the file: the database as of one moment, adapters with their gate reports, calibration, uploaded documents, the
golden set that was written in the console. Left out is what is made again from these: weights, vectors, trainings under
way. A PostgreSQL database is dumped by `pg_dump` (`dump.py`); where that is not installed the file is without it, and
says so.
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
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError
from knowledge.types import Progress
from ui.commands.steps import Arguments, Command, Steps, progress_step
from ui.console.golden_file import GOLDEN_FILE

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from assistant.build import Rungs

ABOUT, DATABASE, DUMPED = "backup.json", "rungs.db", "rungs.dump"
FORMAT = 1
KEPT = ("adapters", "gates", "uploads", GOLDEN_FILE, "calibration.json", "bundled-adapter", "demo-loaded")
"""Files and folders of a home, beside the database."""


def backup(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Write a home as one file; it appears whole or not at all. Questions go on meanwhile."""
    out, home = Path(str(arguments["out"])), rungs.settings.home.resolve()
    files = [(name, home / name) for name in _names(home)]
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        yield progress_step(Progress(0, len(files) + 1, "database"))
        database = _database(rungs.engine, Path(aside))
        part, included = Path(aside) / "part", "included" if database else "elsewhere"
        with tarfile.open(part, "w") as tar:
            _add_text(tar, ABOUT, json.dumps(_about(included), indent=1))
            if database:
                tar.add(database, database.name)
            for number, (name, path) in enumerate(files, 1):
                yield progress_step(Progress(number, len(files) + 1, name))
                if cancel.is_set():
                    return
                with suppress(FileNotFoundError):  # removed since it was listed
                    tar.add(path, name, recursive=False)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(out)
    yield {"result": {"file": str(out), "bytes": out.stat().st_size, "database": included}}


def _database(engine: Engine, aside: Path) -> Path | None:
    """The database as of now as a file; None where it is a server's and `pg_dump` is not installed."""
    from knowledge.database import is_sqlite
    from ui.commands import dump

    if is_sqlite(engine):
        return _copy_of(Path(str(engine.url.database)), aside / DATABASE)
    if not dump.can_dump():
        return None
    dump.dump(engine, aside / DUMPED)
    return aside / DUMPED


def restore(home: Path, file: Path, database: str = "") -> dict[str, Any]:
    """Make a home of a backup. Nothing is overwritten: neither folder nor database may hold one yet.

    Args:
        home: where its files go.
        file: of `rungs backup`.
        database: the setting; what a backup of PostgreSQL is restored into.

    Raises:
        AssistantError: the file is no backup, is damaged, the home is in use, or the database is not empty.
        KnowledgeError: the database cannot be reached.
    """
    if (home / DATABASE).exists():
        raise AssistantError(f"{home} holds a database already. Restore into another --home, or move that one away.")
    try:
        with tarfile.open(file) as tar:
            members = list(_members(tar, file))
            dumped = next((member for member in members if member.name == DUMPED), None)
            _check_kind(any(member.name == DATABASE for member in members), dumped is not None, database)
            if dumped:
                _fill(database, tar, dumped)
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            tar.extractall(home, [member for member in members if member is not dumped], filter="data")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise AssistantError(f"{file} cannot be restored ({error}). Is it a file of `rungs backup`?") from error
    about = json.loads((home / ABOUT).read_text(encoding="utf-8"))
    (home / ABOUT).unlink()
    if (home / DATABASE).is_file():
        _detach(f"sqlite:///{home.resolve() / DATABASE}")
    return {"home": str(home), "files": len(members) - 1, **about}


def _check_kind(sqlite: bool, dumped: bool, database: str) -> None:
    server = bool(database) and not database.startswith("sqlite")
    if dumped and not server:
        raise AssistantError(
            "this backup is of a PostgreSQL database: make an empty one and name it by the setting `database` "
            "(RUNGS_DATABASE=postgresql://...), then run this again."
        )
    if sqlite and server:
        raise AssistantError(
            "this backup is of an SQLite database, and the setting `database` names a server. Unset it, restore, and "
            "then run `rungs move-database`."
        )


def _fill(database: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    from ui.commands import dump

    with tempfile.TemporaryDirectory() as aside:
        tar.extract(member, aside, filter="data")
        dump.restore(database, Path(aside) / DUMPED)
    _detach(database)


def _detach(database: str) -> None:
    from knowledge import catalog
    from knowledge.database import open_engine, writing

    engine = open_engine(database)
    try:
        with writing(engine) as connection:
            catalog.detach(connection)
    finally:
        engine.dispose()


def _members(tar: tarfile.TarFile, file: Path) -> Iterator[tarfile.TarInfo]:
    """What a backup may hold: plain files below the names that one writes."""
    first = tar.next()
    if first is None or first.name != ABOUT:
        raise AssistantError(f"{file} is no file of `rungs backup`.")
    for member in tar.getmembers():
        top = PurePosixPath(member.name).parts[0] if member.name else ""
        if not member.isfile() or top not in (ABOUT, DATABASE, DUMPED, *KEPT):
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


def _about(database: str) -> dict[str, Any]:
    try:
        installed = version("rungs")
    except PackageNotFoundError:
        installed = "unknown"
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return {"format": FORMAT, "version": installed, "made_at": made, "database": database}


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


COMMANDS: Mapping[str, Command] = {"backup": backup}
