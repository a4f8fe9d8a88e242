"""Bodies that are too large, too slow or cut off, and a full house: refused in words, and nobody else waits."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.ui.browsing import Served, scripted_site
from ui.access.admission import Busy, Places
from ui.access.doorkeeper import MIB

ASK = "/v1/chat/completions"
LAMP = {"messages": [{"role": "user", "content": "How is a lamp switched on?"}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("bad-input")) as site:
        yield site


def connected(site: Served) -> socket.socket:
    parts = urlsplit(site.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 80)), 20)


def opened(site: Served, head: bytes) -> socket.socket:
    link = connected(site)
    host = urlsplit(site.url).netloc.encode()
    link.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: " + host + b"\r\ncontent-type: application/json\r\n" + head
    )
    return link


def said(link: socket.socket) -> tuple[int, Any]:
    """Status and body of what comes back until the server closes."""
    answer = b""
    while piece := link.recv(65536):
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("path", [ASK, "/api/feedback", "/api/webhooks", "/mcp"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_in_words(site: Served, path: str, chunked: bool) -> None:
    piece = b"x" * MIB

    def pieces() -> Iterator[bytes]:
        yield b'{"messages":[{"role":"user","content":"'
        for _ in range(6):
            yield piece

    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    content: Any = pieces() if chunked else b"".join(pieces())
    answer = httpx.post(site.url + path, content=content, headers=headers, timeout=60)
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert error["code"] == "too_large" and set(error) == {"message", "type", "param", "code"}
    assert httpx.get(f"{site.url}/healthz").status_code == 200


def test_a_declared_body_is_refused_before_it_comes(site: Served) -> None:
    with opened(site, b"content-length: 50000000\r\n\r\n") as link:
        link.settimeout(20)
        started = time.monotonic()
        status, _ = said(link)
        assert status == 413 and time.monotonic() - started < 15


def test_a_socket_that_is_cut_in_the_middle_of_a_body_harms_nobody(site: Served) -> None:
    for _ in range(20):
        with opened(site, b"content-length: 1000\r\n\r\n{"):
            pass
    assert httpx.post(site.url + ASK, json=LAMP, timeout=60).status_code == 200


def test_slow_clients_stop_nobody(site: Served) -> None:
    heads = (b"", b"x-slow: ", b"content-length: 1000\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n5\r\n{")
    slow = [opened(site, heads[number % len(heads)]) for number in range(50)]
    try:
        waits = []
        for _ in range(20):
            for link in slow:
                with suppress(OSError):  # what cannot be a request any more was closed already
                    link.sendall(b"a")
            started = time.monotonic()
            assert httpx.get(f"{site.url}/healthz").status_code == 200
            waits.append(time.monotonic() - started)
        assert sorted(waits)[-2] < 1.0
        assert httpx.post(site.url + ASK, json=LAMP, timeout=60).status_code == 200
    finally:
        for link in slow:
            link.close()


def test_two_hundred_at_once_are_answered_or_told_when_to_come_back(site: Served) -> None:
    together = threading.Barrier(200)

    def ask(_: int) -> tuple[int, str, str]:
        with httpx.Client(timeout=120) as client:
            together.wait()
            answer = client.post(site.url + ASK, json=LAMP)
            return answer.status_code, answer.headers.get("retry-after", ""), answer.text

    with ThreadPoolExecutor(200) as pool:
        told = list(pool.map(ask, range(200)))
    assert {status for status, _, _ in told} <= {200, 429}
    refused = [(wait, text) for status, wait, text in told if status == 429]
    for wait, text in refused:
        assert int(wait) > 0 and json.loads(text)["error"]["code"] == "busy"
    assert httpx.post(site.url + ASK, json=LAMP, timeout=60).status_code == 200, "all places were given back"


def test_no_more_places_than_there_are() -> None:
    places = Places(3)
    for _ in range(3):
        places.take()
    with pytest.raises(Busy):
        places.take()
    places.give_back()
    places.take()
    assert places.taken == 3
