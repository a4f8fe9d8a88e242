"""Whoever leaves in the middle of an answer stops the engine within a second, on every door, also the silent ones."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser

from tests.ui.browsing import chromium, visiting
from tests.ui.processes import Served, process
from tests.ui.test_leaving import CALIBRATION, QUESTION

SECOND = 1.0
PATIENCE = 30.0
"""For what must happen at some time; only what must happen within a second is measured."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    """Half a minute for an answer, a token every one and a half seconds: longer than a stop may take."""
    (folder / "home").mkdir()
    (folder / "home" / "calibration.json").write_text(json.dumps(CALIBRATION))
    with process(folder, seconds_per_token=1.5, RUNGS_SLOTS="2", RUNGS_LOG="json") as served:
        short = {"messages": [{"role": "user", "content": "Hi"}]}  # the first question waits for what is loaded once
        httpx.post(f"{served.url}/v1/chat/completions", json=short, trust_env=False, timeout=PATIENCE)
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def under_way(served: Served) -> int:
    told = httpx.get(f"{served.url}/metrics", trust_env=False, timeout=PATIENCE).text
    return int(float(told.split("\nrungs_answers_under_way ")[1].split("\n")[0]))


def until(condition: object, seconds: float = PATIENCE) -> float:
    """Seconds until it was so."""
    began = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - began < seconds, "it never was"
        time.sleep(0.02)
    return time.monotonic() - began


def latest(folder: Path) -> tuple[str, str]:
    with closing(sqlite3.connect(f"file:{folder}/home/rungs.db?mode=ro", uri=True)) as connection:
        query = "SELECT status, coalesce(reason, '') FROM questions ORDER BY number DESC LIMIT 1"
        return connection.execute(query).fetchone()  # type: ignore[no-any-return]


def engaged(served: Served) -> None:
    """Wait until the model writes: what comes before takes moments, and a loaded machine stretches them."""
    until(lambda: under_way(served) == 1)
    time.sleep(SECOND)


def interrupted(served: Served) -> list[float]:
    """When answers ended without one, by the server's own log and clock."""
    lines = [json.loads(line) for line in served.said.splitlines() if line.startswith("{")]
    ended = [line["time"] for line in lines if line.get("outcome") == "interrupted"]
    return [datetime.fromisoformat(time).timestamp() for time in ended]


def check_stopped(served: Served, folder: Path, ended_before: int) -> None:
    """Called at once after the cut: the answer ends within a second, the record says why, the engine is free."""
    cut_at = time.time()
    until(lambda: len(interrupted(served)) > ended_before)
    assert interrupted(served)[-1] - cut_at < SECOND
    assert latest(folder)[0] == "interrupted" and "the asker" in latest(folder)[1]
    until(lambda: under_way(served) == 0)


def connect(served: Served, path: str, body: object, *headers: str) -> socket.socket:
    """A request on a socket of one's own, sent."""
    parts = urlsplit(served.url)
    line = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE)
    sent = json.dumps(body).encode()
    told = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json", *headers]
    line.sendall("\r\n".join([*told, f"Content-Length: {len(sent)}", "", ""]).encode() + sent)
    return line


def cut(line: socket.socket, rudely: bool) -> None:
    """Close a socket, or have it vanish with a reset."""
    if rudely:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.close()


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_program_that_leaves_stops_the_engine(
    served_at: tuple[Served, Path, int], stream: bool, rudely: bool
) -> None:
    served, folder, before = served_at
    body = {"model": "rungs/prompting", "stream": stream, "messages": [{"role": "user", "content": QUESTION}]}
    line = connect(served, "/v1/chat/completions", body)
    engaged(served)
    if stream:
        assert line.recv(100).startswith(b"HTTP/1.1 200")
    cut(line, rudely)
    check_stopped(served, folder, before)


def test_a_command_line_that_is_killed_stops_the_engine(served_at: tuple[Served, Path, int]) -> None:
    served, folder, before = served_at
    asked = {"text": QUESTION, "level": "prompting"}
    line = connect(served, "/control/ask", asked, f"Authorization: Bearer {served.token}")
    engaged(served)
    cut(line, rudely=True)
    check_stopped(served, folder, before)


def test_another_assistant_that_leaves_stops_the_engine(served_at: tuple[Served, Path, int]) -> None:
    served, folder, before = served_at
    call = {"name": "ask", "arguments": {"question": QUESTION}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = ("Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2025-06-18")
    line = connect(served, "/mcp", body, *headers)
    engaged(served)
    cut(line, rudely=False)
    check_stopped(served, folder, before)


@pytest.mark.browser
@pytest.mark.parametrize("how", ["closed", "elsewhere"])
def test_a_chat_page_that_is_left_stops_the_engine(
    served_at: tuple[Served, Path, int], browser: Browser, how: str
) -> None:
    served, folder, before = served_at
    with visiting(browser, served.url) as visit:
        visit.page.fill("#question textarea", QUESTION)
        visit.page.press("#question textarea", "Enter")
        engaged(served)
        if how == "closed":
            visit.page.close()
        else:
            visit.page.goto("about:blank")
        check_stopped(served, folder, before)


@pytest.fixture
def served_at(site: Served, folder: Path) -> tuple[Served, Path, int]:
    """The server, its folder, and how many answers ended without one until now."""
    until(lambda: under_way(site) == 0)
    return site, folder, len(interrupted(site))
