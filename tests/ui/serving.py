"""What the surface's tests share: the command line in this process, and a home with the control door open."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from assistant.build import Rungs, build
from assistant.home import RunningServer, announced, owned
from assistant.settings import Settings
from ui.cli.main import app
from ui.control import control_router

PAGES = {
    "lamps.md": "# Lamps\n\nA lamp is switched on with the red lever behind its foot.\n\n## Bulbs\n\nA bulb lasts "
    "nine hundred hours. Order a new bulb from the glassworks in Ghent.\n",
    "kettles.md": "# Kettles\n\nA kettle whistles when its water boils at one hundred degrees.\n\n## Descaling\n\n"
    "Descale a kettle with citric acid every spring.\n",
    "bridges/arch.md": "# Arch bridges\n\nAn arch bridge carries its load by compression into the abutments.\n",
}


@dataclass(frozen=True)
class CommandLine:
    """`rungs`, typed into this process."""

    home: Path

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [*words, "--home", str(self.home)], input=stdin)

    def json(self, *words: str, status: int = 0, stdin: str | bytes | None = None) -> Any:
        result = self(*words, "--json", stdin=stdin)
        assert result.exit_code == status, (result.exit_code, result.output, result.exception)
        return json.loads(result.stdout)

    def refused(self, *words: str, stdin: str | bytes | None = None) -> str:
        """The one line on standard error of a command that fails."""
        result = self(*words, stdin=stdin)
        assert result.exit_code == 1, (result.exit_code, result.output, result.exception)
        assert result.stderr.startswith("rungs: ") and len(result.stderr.strip().splitlines()) == 1, result.stderr
        assert result.stdout == ""
        return str(result.stderr)


def write_pages(folder: Path) -> Path:
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def golden(path: Path, rows: int = 3) -> Path:
    known = [
        {"question": "How is a lamp switched on?", "answers": ["red lever"], "gold_doc": "lamps.md"},
        {"question": "How often is a kettle descaled?", "answers": ["every spring"], "gold_doc": "kettles.md"},
        {"question": "Who won the chess match in Reykjavik?", "expect": "decline"},
    ]
    lines = [json.dumps({"id": f"r{i}"} | known[i % len(known)]) for i in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def served(rungs: Rungs, home: Path) -> Iterator[RunningServer]:
    """The control door, open on a free loopback port."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        with announced(home, url) as server:
            web = FastAPI()
            web.include_router(control_router(rungs, server.token))
            running = uvicorn.Server(uvicorn.Config(web, log_level="warning", lifespan="off", ws="none"))
            thread = threading.Thread(target=running.run, kwargs={"sockets": [door]})
            thread.start()
            try:
                while not running.started:
                    time.sleep(0.01)
                yield server
            finally:
                running.should_exit = True
                thread.join()


@contextmanager
def serving(home: Path) -> Iterator[tuple[Rungs, RunningServer]]:
    """A built assistant that owns its home and has its control door open."""
    with owned(home):
        rungs = build(Settings(home=home))
        try:
            with served(rungs, home) as server:
                yield rungs, server
        finally:
            rungs.close()
