"""Whoever asks too much is told when to come back, on every program's door; a header names nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.home import owned
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access.people import People
from ui.server import create_app
from ui.serving import listening
from ui.widget.sites import Sites

OWN = f"http://127.0.0.1:{PORT}"
ASK = {"messages": [{"role": "user", "content": "How is a lamp switched on?"}]}
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "ask", "arguments": {"question": "How is a lamp switched on?"}},
}  # fmt: skip
MCP = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
SMALL = {"key_questions_per_minute": 3, "address_questions_per_minute": 5, "visitor_questions_per_minute": 2}


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    home = tmp_path / "home"
    with owned(home):
        built = build(settings_of(home).model_copy(update=SMALL))
        yield built
        built.close()


def web_of(rungs: Rungs, people: People | None = None, address: str = "127.0.0.1", **settings: Any) -> TestClient:
    """As `serve` wires it, seen from an address."""
    options = listening(rungs.settings.model_copy(update=settings))
    app: Any = create_app(rungs, TOKEN, PORT, people)
    config = uvicorn.Config(app, **options)
    config.load()
    return TestClient(config.loaded_app, base_url=OWN, client=(address, 50000))  # type: ignore[arg-type]


def tries(web: TestClient, most: int = 10, **more: Any) -> int:
    """How many questions are answered before one is turned away."""
    for number in range(most):
        answer = web.post("/v1/chat/completions", json=ASK, **more)
        if answer.status_code == 429:
            error = answer.json()["error"]
            assert (error["code"], error["type"]) == ("spent", "rate_limit_error")
            assert 1 <= int(answer.headers["retry-after"]) <= 120
            return number
        assert answer.status_code == 200, answer.text
    return most


def test_a_key_has_a_budget_over_every_door(rungs: Rungs) -> None:
    people = People(rungs.engine)
    people.add("ann", "owner", "correct horse battery")
    _, secret = people.add_key("a program", ["ask"], "ann")
    _, other = people.add_key("another", ["ask"], "ann")
    bearer = {"authorization": f"Bearer {secret}"}
    with web_of(rungs, people) as web:
        assert web.post("/mcp", json=CALL, headers={**MCP, **bearer}).status_code == 200
        assert tries(web, headers=bearer) == 2
        told = web.post("/mcp", json=CALL, headers={**MCP, **bearer})
        assert told.status_code == 429 and int(told.headers["retry-after"]) > 0
        assert told.json()["error"]["data"]["retry_seconds"] == int(told.headers["retry-after"])
        rated = web.post("/api/feedback", json={"trace_id": "x", "value": 1}, headers=bearer)
        assert rated.status_code == 429
        assert tries(web, headers={"authorization": f"Bearer {other}"}) == 3
        assert web.get("/v1/models", headers=bearer).status_code == 200, "looking costs nothing"


def test_an_address_cannot_call_itself_another_one(rungs: Rungs) -> None:
    with web_of(rungs, address="203.0.113.9") as web:
        got = 0
        for number in range(10):
            headers = {"x-forwarded-for": f"198.51.100.{number}", "forwarded": f"for=198.51.100.{number}"}
            got += web.post("/v1/chat/completions", json=ASK, headers=headers).status_code == 200
        assert got == 5


def test_behind_a_proxy_that_is_named_each_address_has_its_own_and_a_visitor_cannot_add_one(rungs: Rungs) -> None:
    with web_of(rungs, address="10.0.0.7", proxies=["10.0.0.7"]) as web:
        assert tries(web, headers={"x-forwarded-for": "203.0.113.1"}) == 5
        assert tries(web, headers={"x-forwarded-for": "203.0.113.2"}) == 5
        assert tries(web, headers={"x-forwarded-for": "198.51.100.77, 203.0.113.2"}) == 0


def test_this_machine_has_no_budget_and_a_programs_visitors_have_each_their_own(rungs: Rungs) -> None:
    with web_of(rungs) as web:
        assert tries(web, 8) == 8
    people = People(rungs.engine)
    people.add("ann", "owner", "correct horse battery")
    _, secret = people.add_key("a program", ["ask"], "ann")
    with web_of(rungs, people) as web:
        for user in ("one", "two"):
            body = {**ASK, "user": user}
            answers = [
                web.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}"}).status_code
                for _ in range(3)
            ]
            assert answers[2] == 429, (user, answers)


def test_a_full_queue_turns_away_on_every_door(rungs: Rungs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.server.WAITING_MAX", -rungs.settings.slots + 1)
    with web_of(rungs) as web:
        monkeypatch.setattr("ui.access.admission.Places.give_back", lambda _: None)  # the one place is taken for good
        assert web.post("/v1/chat/completions", json=ASK).status_code == 200
        for path, body, headers in (("/v1/chat/completions", ASK, {}), ("/mcp", CALL, MCP)):
            told = web.post(path, json=body, headers=headers)
            assert told.status_code == 429 and int(told.headers["retry-after"]) > 0
            assert "too many questions" in told.json()["error"]["message"]
        assert rungs.traces.shares() and sum(rungs.traces.shares().values()) == 1, "nothing was recorded for the others"


def test_a_server_that_is_stopping_says_so_on_every_door(rungs: Rungs) -> None:
    app = create_app(rungs, TOKEN, PORT)
    with TestClient(app, base_url=OWN) as web:
        site = Sites(rungs.engine).add("shop", ["https://shop.example"], "ann")
        shop = {"origin": "https://shop.example"}
        begun = web.post("/widget/api/session", json={"site": site.key}, headers=shop).json()
        bearer = {"authorization": f"Bearer {begun['token']}", **shop}
        web.portal.call(app.state.leaving.begin)  # type: ignore[union-attr]
        for path, body, headers in (
            ("/v1/chat/completions", ASK, {}), ("/mcp", CALL, MCP), ("/widget/api/ask", {"text": "Hello?"}, bearer),
        ):  # fmt: skip
            told = web.post(path, json=body, headers=headers)
            assert (told.status_code, told.headers["retry-after"]) == (503, "5"), (path, told.text)
            assert "stopping" in told.json()["error"]["message"]
        ready = web.get("/readyz")
        assert (ready.status_code, ready.json()["problems"]) == (503, {"server": "it is being stopped"})
        assert sum(rungs.traces.shares().values()) == 0


@pytest.mark.parametrize(("proxies", "told"), [(["203.0.113.9"], "max-age=31536000"), (["203.0.113.8"], ""), ([], "")])
def test_only_whoever_came_by_https_is_told_to_keep_to_it(rungs: Rungs, proxies: list[str], told: str) -> None:
    with web_of(rungs, address="203.0.113.9", proxies=proxies) as web:
        answer = web.get("/healthz", headers={"x-forwarded-proto": "https"})
    assert answer.headers.get("strict-transport-security", "") == told
