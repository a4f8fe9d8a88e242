"""A real PostgreSQL for tests: started once per session from the machine's binaries, a fresh database for each test.

The server refuses to run as root, so it runs as nobody there. It listens on a Unix socket in a temporary folder alone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine

from assistant.traces import TraceStore
from knowledge.database import migrate, open_engine
from knowledge.store import MIGRATIONS, VERSION_TABLE
from ui.access.people import People

DEBIAN = Path("/usr/lib/postgresql")
TEMPLATE = "rungs_template"
FAST = "fsync=off full_page_writes=off listen_addresses= max_connections=200".split()
"""Tests kill clients and servers, never the machine: what a server wrote and did not sync is still there."""


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


class Server:
    """A running server in a folder of its own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        self._as = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(folder, "nobody", "nogroup")
        self._run("initdb", "-U", "rungs", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()
        url = self.url("postgres").replace("postgresql:", "postgresql+psycopg:")
        self._admin = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def start(self) -> None:
        settings = [f"unix_socket_directories={self.folder}", *FAST]
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        self._admin.dispose()
        self._run("pg_ctl", "-w", "-m", how, "stop")

    def url(self, database: str) -> str:
        return f"postgresql://rungs@/{database}?host={self.folder}"

    def make(self, template: str = "template1") -> str:
        """A fresh database's URL."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """As the owner of everything, outside any transaction."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")


def _name(url: str) -> str:
    return url.split("@/", 1)[1].split("?", 1)[0]


@contextmanager
def running() -> Iterator[Server | None]:
    """A server for as long as the block runs; None where there are no binaries."""
    programs = binaries()
    if programs is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rungs-pg-", dir="/tmp") as folder:  # a socket's path is short
        server = Server(Path(folder), programs)
        try:
            yield server
        finally:
            server.stop("immediate")


def make_template(server: Server) -> None:
    """A database that all rooms have migrated: copying it is quicker than migrating again."""
    server.execute(f"CREATE DATABASE {TEMPLATE}")
    engine = open_engine(server.url(TEMPLATE))
    migrate_all(engine)
    engine.dispose()


def migrate_all(engine: Engine) -> None:
    """Bring the tables of every room up to date."""
    migrate(engine, MIGRATIONS, VERSION_TABLE)
    TraceStore(engine)
    People(engine)
