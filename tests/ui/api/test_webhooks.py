"""Webhooks, against a real receiver: signed, retried, given up; and no address of anybody's inner network is called."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from starlette.testclient import TestClient

from assistant.build import build
from assistant.errors import AssistantError
from assistant.home import owned
from knowledge.database import open_engine, writing
from tests.ui.serving import CommandLine
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access.people_tables import deliveries
from ui.api import webhook_sending
from ui.api.webhooks import TRIES, WAITS, Webhooks
from ui.server import create_app

ABOUT = {"handoff_id": "h1", "conversation_id": "c1", "kind": "asked", "agent": None}


@dataclass
class Receiver:
    """Another program."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """What it answers, in order; then 204."""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    silent_seconds: float = 0.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    here = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            here.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(here.silent_seconds)
            self.send_response(here.statuses.pop(0) if here.statuses else 204)
            self.send_header("location", f"{here.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield here
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def webhooks(engine: Engine) -> Webhooks:
    return Webhooks(engine, private=True)


def proven(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """What a receiver does, after standardwebhooks.com and in no line ours."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = hmac.new(base64.b64decode(secret.split("_")[1]), signed, hashlib.sha256).digest()
    return headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


def test_a_delivery_is_signed_and_holds_what_happened(webhooks: Webhooks, receiver: Receiver) -> None:
    made, secret = webhooks.add(f"{receiver.url}/hook?a=1", ["handed_off"], "ann")
    webhooks.emit("handed_off", ABOUT)
    webhooks.emit("resolved", ABOUT)
    assert webhooks.deliver_due() == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hook?a=1" and headers["host"] == receiver.url.removeprefix("http://")
    assert proven(headers, body, secret) and not proven(headers, body + b" ", secret)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("handed_off", ABOUT) and told["timestamp"]
    (one,) = webhooks.all()
    assert (one.id, one.last, one.waiting) == (made.id, "delivered (204)", 0)
    assert secret not in repr(one)


def test_what_fails_is_tried_again_under_the_same_id_and_given_up_in_the_end(
    webhooks: Webhooks, receiver: Receiver, engine: Engine
) -> None:
    made, _ = webhooks.add(receiver.url, ["feedback"], "ann")
    receiver.statuses = [500, 503, 200]
    webhooks.emit("feedback", {"trace_id": "t", "value": -1})
    now = time.time()
    assert webhooks.deliver_due() == 1
    assert webhooks.all()[0].last == "waiting (500)"
    assert webhooks.deliver_due(now + WAITS[0] * 0.8) == 0, "not yet"
    assert webhooks.deliver_due(now + WAITS[0] * 1.2) == 1
    assert webhooks.deliver_due(now + WAITS[1] * 1.2) == 1
    assert webhooks.deliver_due(now + 1e6) == 0
    assert webhooks.all()[0].last == "delivered (200)"
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1

    receiver.statuses = [500] * 20
    webhooks.emit("feedback", {"trace_id": "u", "value": -1})
    for _ in range(TRIES + 3):
        webhooks.deliver_due()
        with writing(engine) as connection:
            connection.execute(update(deliveries).values(due=0.0))
    assert len(receiver.got) == 3 + TRIES
    latest, _ = webhooks.deliveries(made.id)
    assert (latest.state, latest.tries, latest.told) == ("dead", TRIES, "500")


def test_two_processes_send_once(engine: Engine, receiver: Receiver) -> None:
    first, second = Webhooks(engine, private=True), Webhooks(engine, private=True)
    first.add(receiver.url, ["feedback"], "ann")
    for _ in range(12):
        first.emit("feedback", {})
    threads = [
        threading.Thread(target=lambda one=one: [one.deliver_due() for _ in range(8)]) for one in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 12


def test_a_redirect_is_not_followed(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.add(receiver.url, ["feedback"], "ann")
    receiver.statuses = [302]
    webhooks.emit("feedback", {})
    webhooks.deliver_due()
    assert [path for path, _, _ in receiver.got] == ["/"]
    assert webhooks.all()[0].last == "waiting (302)"


def test_who_does_not_answer_is_left(webhooks: Webhooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sending, "TOTAL_SECONDS", 0.3)
    receiver.silent_seconds = 1.0
    webhooks.add(receiver.url, ["feedback"], "ann")
    webhooks.emit("feedback", {})
    webhooks.deliver_due()
    assert webhooks.all()[0].last == "waiting (no answer in time)"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook", "ftp://example.com", "https://", "https://ann:pw@example.com/", "example.com",
        "https://example.com/ x", "https://example.com:0/", "https://example.com:99999/", "https://[::1", "",
        "https://example.com/\nx", "https://bücher.example/", "https://example.com#x",
        "https://127.0.0.1/", "http://localhost/", "https://10.0.0.1/", "https://169.254.169.254/latest",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[fe80::1]/",
        "https://0.0.0.0/", "https://100.64.0.1/", "https://224.0.0.1/", "https://[2002:a00:1::]/",
    ],
)  # fmt: skip
def test_an_address_that_will_not_do_is_refused(engine: Engine, url: str) -> None:
    with pytest.raises(AssistantError):
        Webhooks(engine).add(url, ["feedback"], "ann")
    assert Webhooks(engine).all() == ()


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["::1"], ["::ffff:192.168.0.1"], ["93.184.215.14", "10.0.0.1"], ["169.254.169.254"]],
)
def test_a_name_with_any_inner_address_is_not_called(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    async def resolve(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

    async def send() -> int:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
        return await webhook_sending.post("https://rebinding.example/", {}, "{}", private=False)

    with pytest.raises(AssistantError, match="no public address"):
        asyncio.run(send())


def test_the_address_that_was_looked_at_is_the_one_that_is_called(receiver: Receiver) -> None:
    looked: list[str] = []

    async def send() -> int:
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def resolve(host: Any, *rest: Any, **more: Any) -> Any:
            looked.append(str(host))
            return await real("127.0.0.1" if host == "localhost" else host, *rest, **more)

        loop.getaddrinfo = resolve  # type: ignore[method-assign]
        port = receiver.url.rsplit(":", 1)[1]
        return await webhook_sending.post(f"http://localhost:{port}/x", {}, "{}", private=True)

    assert asyncio.run(send()) == 204
    assert looked.count("localhost") == 1
    assert receiver.got[0][1]["host"].startswith("localhost:")


def test_events_reach_a_receiver_from_where_they_happen(tmp_path: Path, receiver: Receiver) -> None:
    home = tmp_path / "home"
    settings = settings_of(home).model_copy(update={"webhook_private": True})
    with owned(home):
        rungs = build(settings)
        app = create_app(rungs, TOKEN, PORT)
        with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as web:
            wanted = {"url": receiver.url, "events": ["handed_off", "resolved", "feedback"]}
            made = web.post("/api/webhooks", json=wanted).json()
            body = {"messages": [{"role": "user", "content": "How is a lamp switched on?"}]}
            told = web.post("/v1/chat/completions", json=body).json()["rungs"]
            web.post("/api/feedback", json={"trace_id": told["trace_id"], "value": -1, "reason": "secret words"})
            handoff = rungs.desk.hand_off(told["conversation_id"], "asked_for_person")
            rungs.desk.take(handoff.id, "ann")
            rungs.desk.resolve(handoff.id, "ann")
            deadline = time.monotonic() + 20
            while len(receiver.got) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            happened = {json.loads(body)["type"] for _, _, body in receiver.got}
            assert happened == {"feedback", "handed_off", "resolved"}
            assert not any(b"secret words" in body or b"lamp" in body for _, _, body in receiver.got)
            listed = web.get("/api/webhooks").json()
            assert made["secret"] not in json.dumps(listed)
            id = made["webhook"]["id"]
            sent = web.get(f"/api/webhooks/{id}/deliveries").json()["deliveries"]
            assert len(sent) == 3
            assert web.delete(f"/api/webhooks/{id}").json() == {"kept": True}
            assert web.delete(f"/api/webhooks/{id}").status_code == 404
        rungs.close()


def test_webhooks_are_made_and_removed_by_command(rungs: CommandLine) -> None:
    made = rungs.json("webhooks", "add", "https://example.com/hook", "--event", "feedback", "--event", "resolved")
    assert made["secret"].startswith("whsec_") and made["events"] == ["feedback", "resolved"]
    (one,) = rungs.json("webhooks", "list")["webhooks"]
    assert one["id"] == made["id"] and "secret" not in one
    assert "nothing sent yet" in rungs("webhooks", "list").stdout
    assert rungs.json("webhooks", "remove", made["id"])["removed"] is True
    assert "no webhook" in rungs.refused("webhooks", "remove", made["id"])
    assert "https" in rungs.refused("webhooks", "add", "http://example.com", "--event", "feedback")
