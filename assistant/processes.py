"""Which processes answer over one database: each tells its heartbeat, and what a dead one left open is closed.

On SQLite one process owns the home, so at its start every open question is a dead one's. On PostgreSQL a process is
known by its home and its machine: started again, it closes its own earlier questions at once, and those of a process
that has been silent for a minute by the server's clock. Made by `build.py`; `traces.py` asks it what is dead.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, extract, func, insert, or_, select, update

from assistant.errors import AssistantError
from assistant.home import make_home
from assistant.tables import processes, questions
from knowledge.database import is_sqlite, writing
from knowledge.errors import KnowledgeError

log = logging.getLogger(__name__)

FILE = "process-id"
BEAT_SECONDS = 15.0
SILENT_SECONDS = 60.0
"""A process that was not heard of for so long is dead."""
REASON = "Rungs stopped before the answer was complete"


def process_id(engine: Engine, home: Path) -> str:
    """Who this process is among those of its database; empty where it is the only one.

    Raises:
        AssistantError: the home cannot be written.
    """
    if is_sqlite(engine):
        return ""
    file = make_home(home) / FILE
    try:
        if not file.is_file():
            file.write_text(secrets.token_hex(8), encoding="ascii")
        known = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise AssistantError(f"{file} cannot be used ({error}). Remove it, or mend its permissions.") from error
    return f"{known}@{socket.gethostname()}"  # a copied home is another process


def close_dead(engine: Engine, own: str, *, starting: bool) -> int:
    """Close the questions that dead processes left open, as interrupted.

    Args:
        engine: the database.
        own: this process; empty where it is the only one.
        starting: whether it has not begun any question yet, so that its open ones are an earlier run's.

    Returns:
        How many there were.
    """
    dead: list[ColumnElement[bool]] = [questions.c.status == "started"]
    if not is_sqlite(engine):
        alive = select(processes.c.id).where(processes.c.seen > _now() - SILENT_SECONDS)
        left = [questions.c.process.is_(None), questions.c.process.not_in(alive)]
        dead.append(or_(*left, questions.c.process == own) if starting else or_(*left) & (questions.c.process != own))
    with writing(engine) as connection:
        closed = connection.execute(update(questions).where(*dead).values(status="interrupted", reason=REASON))
        return int(closed.rowcount)


class Heartbeat:
    """Says every few seconds that this process is alive, and closes what dead ones left. Does nothing on SQLite."""

    def __init__(self, engine: Engine, process: str) -> None:
        self._engine, self._process = engine, process
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Say it for the first time before anything else is done.

        Raises:
            KnowledgeError: the database cannot be written.
        """
        if self._process and not self._thread:
            close_dead(self._engine, self._process, starting=True)
            self.beat()
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def beat(self) -> None:
        """Say it once, by the server's clock.

        Raises:
            KnowledgeError: the database cannot be written.
        """
        with writing(self._engine, "processes") as connection:
            gone = or_(processes.c.id == self._process, processes.c.seen < _now() - 100 * SILENT_SECONDS)
            connection.execute(delete(processes).where(gone))
            connection.execute(insert(processes).values(id=self._process, seen=_now()))

    def close(self) -> None:
        """This process is leaving: whatever it has not finished by now is closed by others. Idempotent."""
        if not self._thread:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        try:
            with writing(self._engine, "processes") as connection:
                connection.execute(delete(processes).where(processes.c.id == self._process))
        except KnowledgeError as error:
            log.warning("%s", error)

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
                close_dead(self._engine, self._process, starting=False)
            except KnowledgeError as error:  # the next beat may reach it again
                log.warning("heartbeat: %s", error)


def _now() -> ColumnElement[Any]:
    return extract("epoch", func.clock_timestamp())
