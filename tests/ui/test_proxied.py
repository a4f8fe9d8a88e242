"""A real HAProxy, by the file we ship, before two processes: streams pass, pages stick, a dead one is not missed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from knowledge.database import open_engine
from tests import chroma, postgres
from tests.absent import absent
from tests.ui.browsing import ROOT, Served, two_processes
from tests.ui.test_processes import LAMP
from ui.access.people import People

NAME = "support.example.com"
PROMPTING = {"model": "rungs/prompting", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
LOST_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url(postgresql: postgres.Server) -> Iterator[str]:
    made = postgresql.make(postgres.TEMPLATE)
    yield made
    postgresql.drop(made)


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, url: str, chroma_of_session: chroma.ChromaServer
) -> Iterator[tuple[Served, Served]]:
    settings = {
        "RUNGS_HOSTS": json.dumps([NAME]), "RUNGS_PROXIES": json.dumps(["127.0.0.1"]),
        "RUNGS_VISITOR_QUESTIONS_PER_MINUTE": "0",
    }  # fmt: skip
    folder, index = tmp_path_factory.mktemp("two"), chroma_of_session.url
    with two_processes(folder, url, index, **settings) as both:
        yield both


@pytest.fixture(scope="module")
def proxy(two: tuple[Served, Served], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The proxy's address. Only names and ports of the shipped file are changed."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not program:
        absent("HAProxy", "haproxy")
    port, text = free_port(), (ROOT / "deploy" / "haproxy.cfg").read_text()
    text = text.replace("bind :8080", f"bind 127.0.0.1:{port}").replace("Host localhost:7860", f"Host {NAME}")
    for name, at in zip("ab", two, strict=True):
        text = text.replace(f"rungs-{name}:7860", at.url.removeprefix("http://"))
    assert "7860" not in text
    path = tmp_path_factory.mktemp("proxy") / "haproxy.cfg"
    path.write_text(text)
    with (path.parent / "log").open("w") as log, subprocess.Popen([program, "-f", path], stdout=log, stderr=log) as run:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            run.terminate()


@pytest.fixture(scope="module")
def key(url: str) -> Iterator[str]:
    engine = open_engine(url)
    people = People(engine)
    people.add("owner", "owner", "correct horse battery")
    yield people.add_key("tests", ["ask", "knowledge"], "owner")[1]
    engine.dispose()


@pytest.fixture
def web(proxy: str, key: str) -> Iterator[httpx.Client]:
    headers = {"host": NAME, "authorization": f"Bearer {key}"}
    with httpx.Client(base_url=proxy, headers=headers, trust_env=False, timeout=30) as client:
        deadline = time.monotonic() + LOST_SECONDS
        while client.get("/healthz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield client


def test_a_stream_comes_through_as_it_is_made(web: httpx.Client) -> None:
    with web.stream("POST", "/v1/chat/completions", json=PROMPTING) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]" and len(lines) > 3


def test_what_is_put_in_by_one_is_found_by_any(web: httpx.Client) -> None:
    assert web.post("/api/knowledge/sources/manual/documents", files=[LAMP]).status_code == 200
    for _ in range(4):
        found = web.get("/api/knowledge/search", params={"text": "lamp lever"}).json()["results"]
        assert "red lever" in found[0]["text"]


def test_a_browser_stays_with_the_process_that_has_its_page(web: httpx.Client) -> None:
    at = [web.get("/login", headers={"cookie": ""}).headers.get("set-cookie", "") for _ in range(4)]
    named = [re.search(r"RUNGS_AT=(\w+)", line) for line in at]
    assert {match[1] for match in named if match} == {"a", "b"}, "new browsers take turns"
    again = [web.get("/login", headers={"cookie": "RUNGS_AT=b"}) for _ in range(4)]
    assert all("RUNGS_AT" not in answer.headers.get("set-cookie", "") for answer in again)


def test_a_process_that_is_killed_is_missed_by_nobody_for_long(web: httpx.Client, two: tuple[Served, Served]) -> None:
    pid = json.loads((two[1].home / "server.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    statuses = []
    for _ in range(40):
        statuses.append(web.post("/v1/chat/completions", json=PROMPTING).status_code)
        time.sleep(0.05)
    assert set(statuses) <= {200}, statuses
    pages = web.get("/login", headers={"cookie": "RUNGS_AT=b"})
    assert pages.status_code == 200, "a page begins anew at the other one"
