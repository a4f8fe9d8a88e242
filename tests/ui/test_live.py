"""What changed is told at once, to those who may know."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from assistant.build import Rungs, build
from tests.ui.test_server import settings_of
from ui.live import add_live

ME = "a" * 32


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """An application on a free port of loopback, by a real server."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not running.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            running.should_exit = running.force_exit = True
            thread.join()


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(settings_of(tmp_path / "home"))
    yield built
    built.close()


@pytest.fixture
def url(rungs: Rungs) -> Iterator[str]:
    app = FastAPI()
    add_live(app, rungs)
    with listening(app) as url:
        yield url


def test_a_visitor_hears_of_their_conversation_at_once(rungs: Rungs, url: str) -> None:
    mine = rungs.traces.open_conversation(ME, "chat")
    with (
        httpx.Client(trust_env=False, timeout=10) as client,
        client.stream("GET", f"{url}/live/conversation/{mine}", headers={"rungs-visitor": ME}) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "event: changed"
        assert [next(lines), next(lines)] == ["data: {}", ""]
        said_at = time.monotonic()
        threading.Timer(0.1, rungs.desk.say, (mine, "system", "", "Hello")).start()
        assert next(lines) == "event: changed"
        assert time.monotonic() - said_at < 2


@pytest.mark.parametrize("visitor", ["", "another", "account eva", "b" * 32])
def test_nobody_hears_of_a_strangers_conversation(rungs: Rungs, url: str, visitor: str) -> None:
    mine = rungs.traces.open_conversation(ME, "chat")
    answer = httpx.get(f"{url}/live/conversation/{mine}", headers={"rungs-visitor": visitor}, trust_env=False)
    assert answer.status_code == 404


def test_an_agent_hears_of_a_hand_off(rungs: Rungs, url: str) -> None:
    mine = rungs.traces.open_conversation(ME, "chat")
    with (
        httpx.Client(trust_env=False, timeout=10) as client,
        client.stream("GET", f"{url}/live/desk") as answer,
    ):
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["event: changed", "data: {}", ""]
        threading.Timer(0.1, rungs.desk.hand_off, (mine, "failure")).start()
        assert next(lines) == "event: changed"
