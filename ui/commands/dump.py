"""A PostgreSQL database as a file and back, by PostgreSQL's own tools: `pg_dump` and `pg_restore`.

They take the password from their environment, never from their arguments, which every user of the machine can read.
Called by `backup.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from assistant.errors import AssistantError
from knowledge.database import open_engine, place, reading

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

DUMP, RESTORE = "pg_dump", "pg_restore"
INSTALL = "Install PostgreSQL's client programs (Debian: postgresql-client), of the server's version or newer"


def can_dump() -> bool:
    """Whether `pg_dump` is installed."""
    return shutil.which(DUMP) is not None


def dump(engine: Engine, target: Path) -> None:
    """Write the database as of one moment, in PostgreSQL's custom format, while others write to it.

    Raises:
        AssistantError: `pg_dump` failed; with what it said.
    """
    _run(engine.url, DUMP, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def restore(url: str, file: Path) -> None:
    """Fill an empty database; all of it or nothing.

    Raises:
        AssistantError: `pg_restore` is not installed or failed, or there are tables already.
        KnowledgeError: the database cannot be reached.
    """
    if shutil.which(RESTORE) is None:
        raise AssistantError(f"{RESTORE} is not installed. {INSTALL}, then run this again.")
    engine = open_engine(url)
    try:
        with reading(engine) as connection:
            held = connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"))
        if held:
            raise AssistantError(f"{place(engine)} holds tables already. Restore into an empty database.")
        _run(engine.url, RESTORE, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", str(file))
    finally:
        engine.dispose()


def _run(url: URL, program: str, *arguments: str) -> None:
    bare = url.set(drivername="postgresql", password=None)
    environment = os.environ.copy()
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    command = [program, f"--dbname={bare.render_as_string(hide_password=False)}", "--no-password", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join(done.stderr.split())[-600:]
        hint = f" {INSTALL}." if "version mismatch" in told or "unsupported version" in told else ""
        raise AssistantError(f"{program} failed: {told}.{hint}")
