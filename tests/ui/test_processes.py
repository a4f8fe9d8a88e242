"""Two application processes over one PostgreSQL and one Chroma server: for the API and the widget they are one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from assistant.bulletin import Bulletin
from assistant.desk import Desk
from knowledge.database import open_engine
from tests import chroma, postgres
from tests.ui.browsing import Served, two_processes
from tests.ui.widget.test_door import events
from ui.access.doors import COOKIE
from ui.access.people import People
from ui.widget.sites import Sites

HOST = "https://shop.example.com"
GOOD = "correct horse battery"
LAMP = ("files", ("lamp.md", b"# Lamps\n\nA lamp is switched on with the red lever behind its foot.\n"))
QUESTIONS_PER_MINUTE = 3


@pytest.fixture(scope="module")
def url(postgresql: postgres.Server) -> Iterator[str]:
    made = postgresql.make(postgres.TEMPLATE)
    yield made
    postgresql.drop(made)


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, url: str, chroma_of_session: chroma.ChromaServer
) -> Iterator[tuple[Served, Served]]:
    folder, index = tmp_path_factory.mktemp("two"), chroma_of_session.url
    with two_processes(folder, url, index, RUNGS_VISITOR_QUESTIONS_PER_MINUTE=str(QUESTIONS_PER_MINUTE)) as both:
        yield both


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30, follow_redirects=False) as client:
        yield client


class Visitor:
    """A widget whose calls go to either process."""

    def __init__(self, web: httpx.Client, key: str, at: Served) -> None:
        self._web = web
        begun = web.post(f"{at.url}/widget/api/session", json={"site": key}, headers={"origin": HOST})
        self.headers = {"origin": HOST, "authorization": f"Bearer {begun.json()['token']}"}

    def post(self, at: Served, path: str, **body: Any) -> httpx.Response:
        return self._web.post(f"{at.url}/widget/api/{path}", json=body, headers=self.headers)


@pytest.fixture(scope="module")
def site(url: str) -> Iterator[str]:
    engine = open_engine(url)
    yield Sites(engine).add("shop", [HOST], "owner").key
    engine.dispose()


def test_what_one_process_learns_the_other_finds(web: httpx.Client, two: tuple[Served, Served]) -> None:
    one, other = two
    assert web.get(f"{other.url}/api/knowledge/search", params={"text": "lamp lever"}).json()["results"] == []
    assert web.post(f"{one.url}/api/knowledge/sources/manual/documents", files=[LAMP]).status_code == 200
    found = web.get(f"{other.url}/api/knowledge/search", params={"text": "lamp lever"}).json()["results"]
    assert "red lever" in found[0]["text"]


def test_a_visitor_goes_on_at_another_process_and_hears_an_agent_of_a_third_at_once(
    web: httpx.Client, two: tuple[Served, Served], site: str, url: str
) -> None:
    one, other = two
    visitor = Visitor(web, site, one)
    told = dict(events(visitor.post(other, "ask", conversation=None, text="How is a lamp switched on?").text))
    conversation = told["conversation"]["id"]
    assert "answer" in told
    assert visitor.post(one, "person", conversation=conversation, note="").json()["state"] == "waiting"
    engine = open_engine(url)
    bulletin = Bulletin(engine)
    desk = Desk(engine, bulletin)
    handoff = desk.open_of(conversation)
    assert handoff

    def answer() -> None:
        desk.take(handoff.id, "ann")
        desk.say(conversation, "agent", "ann", "Here I am.")

    live = f"{other.url}/widget/api/live?conversation={conversation}"
    with web.stream("GET", live, headers=visitor.headers) as stream:
        lines = stream.iter_lines()
        while next(lines) != "event: state":
            pass
        said_at = time.monotonic()
        threading.Timer(0.2, answer).start()
        while "Here I am." not in next(lines):
            assert time.monotonic() - said_at < 10
        assert time.monotonic() - said_at < 3, "woken by the database, not by a look now and then"
    for at in two:
        whole = web.get(f"{at.url}/widget/api/conversations/{conversation}", headers=visitor.headers).json()
        assert (whole["state"], whole["entries"][-1]["text"]) == ("person", "Here I am.")
    bulletin.close()
    engine.dispose()


def test_a_budget_is_one_for_all_processes(web: httpx.Client, two: tuple[Served, Served], site: str) -> None:
    visitor = Visitor(web, site, two[0])
    statuses = [
        visitor.post(two[number % 2], "ask", conversation=None, text=f"Question {number}?").status_code
        for number in range(QUESTIONS_PER_MINUTE + 2)
    ]
    assert statuses == [200] * QUESTIONS_PER_MINUTE + [429, 429]


def test_who_is_logged_in_at_one_process_is_at_the_other(
    web: httpx.Client, two: tuple[Served, Served], url: str
) -> None:
    engine = open_engine(url)
    people = People(engine)
    people.add("owner", "owner", GOOD)
    secret = people.log_in("owner", GOOD)
    for at in two:
        assert web.get(f"{at.url}/v1/models").status_code == 401
        assert web.get(f"{at.url}/v1/models", headers={"cookie": f"{COOKIE}={secret}"}).status_code == 200
    people.log_out(secret or "")
    for at in two:
        assert web.get(f"{at.url}/v1/models", headers={"cookie": f"{COOKIE}={secret}"}).status_code == 401
    engine.dispose()
