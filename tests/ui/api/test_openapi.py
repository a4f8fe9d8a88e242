"""The OpenAPI document is true: of calls that are made out of it, and of what no generator thinks of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bench.openapi import Caller, known_on
from tests.ui.browsing import Served, scripted_site
from ui.access.doors import DOORS, door_of

CALLS = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("openapi")) as site:
        yield site


@pytest.fixture(scope="module")
def document(site: Served) -> Any:
    return httpx.get(f"{site.url}/openapi.json").json()


def test_the_server_does_what_the_document_says(site: Served) -> None:
    told = Caller(site.url, known_on(site.url)).call(CALLS, seed=7)
    assert not told.failures, "\n\n".join(f"{what}\n{first}" for what, first in told.failures.items())
    assert told.calls >= CALLS and set(told.statuses) >= {200, 400, 404}
    assert not {status for status in told.statuses if status >= 500}


def test_the_document_names_our_routes_and_nobody_elses(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert {path.split("/")[1] for path in document["paths"]} == {
        "v1", "api", "healthz", "readyz", "metrics", "openapi.json",
    }  # fmt: skip
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"] and "422" not in operation["responses"]
            assert bool(operation["security"]) == (door_of(path).role != "visitor")
            ok = operation["responses"]["200"]["content"]
            assert all(kind["schema"] for kind in ok.values()), (path, ok)
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(chat["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"400", "401", "403", "404", "409", "413", "429", "500", "503"} < set(chat)
    assert "Retry-After" in chat["429"]["headers"]
    assert {door.path for door in DOORS} >= {"/openapi.json", "/api/webhooks"}


ASK = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", ASK, b'{"messages":[{"role":"user","content":"\\u0000 \\ud800 lamp?"}]}', JSON, 200),
        ("POST", ASK, b'{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}', JSON, 400),
        ("POST", ASK, b'{"user":"\\udfff","messages":[{"role":"user","content":"lamp?"}]}', JSON, 400),
        ("POST", ASK, b'{"user":"\\u0000","messages":[{"role":"user","content":"lamp?"}]}', JSON, 200),
        ("POST", ASK, b'{"messages":[{"role":"\\ud800","content":"x"}]}', JSON, 400),
        ("POST", ASK, b'{"\\ud800":1,"messages":[]}', JSON, 400),
        ("POST", ASK, b"[" * 200_000, JSON, 400),
        ("POST", ASK, b'{"n":' + b"9" * 10_000 + b',"messages":[{"role":"user","content":"x"}]}', JSON, 400),
        ("POST", ASK, b'{"n":NaN,"messages":[{"role":"user","content":"x"}]}', JSON, 400),
        ("POST", ASK, b"\xff\xfe\x00", JSON, 400),
        ("POST", ASK, b"messages=x", {"content-type": "application/x-www-form-urlencoded"}, 400),
        ("POST", ASK, b"{}", {"content-type": "text/plain"}, 400),
        ("POST", ASK, b"{}", {"content-type": "\x80;;=", "content-encoding": "zip"}, 400),
        ("POST", "/api/feedback", b'{"trace_id":"\\ud800","value":1}', JSON, 400),
        ("POST", "/api/feedback", b'{"trace_id":"x","value":1.0000000000000001e400}', JSON, 400),
        ("POST", "/api/knowledge/sources/manual/documents", b"--x\r\n", {"content-type": "multipart/form-data"}, 400),
        (
            "POST", "/api/knowledge/sources/manual/documents",
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="\x00/../.."\r\n\r\nx\r\n--x--\r\n',
            {"content-type": "multipart/form-data; boundary=x"}, 400,
        ),
        ("GET", "/api/knowledge/search?text=%ff%00%ed%a0%80", b"", {}, 200),
        ("GET", "/api/knowledge/search?text=a&k=99999999999999999999999", b"", {}, 400),
        ("GET", "/api/conversations?offset=-1", b"", {}, 400),
        ("GET", "/api/conversations/%ff%00", b"", {}, 404),
        ("GET", "/api/conversations/%zz", b"", {}, 404),
        ("GET", "/api/conversations/traces/" + "x" * 3000, b"", {}, 400),
        ("DELETE", "/api/knowledge/sources/%00", b"", {}, 404),
        ("DELETE", "/api/knowledge/sources/..%2f..%2fetc", b"", {}, 404),
        ("GET", "/api/knowledge/documents/passages?source=known&document=%00", b"", {}, 404),
        ("PATCH", ASK, b"", {}, 405),
        ("MKCOL", "/v1/models", b"", {}, 405),
        ("GET", "/v1/nothing", b"", {}, 404),
        ("GET", "/api", b"", {}, 404),
    ],
)  # fmt: skip
def test_what_no_client_should_send_is_refused_in_the_documented_body(
    site: Served, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = httpx.request(method, site.url + path, content=body, headers=raw, timeout=60)
    assert answer.status_code == status, answer.text[:500]
    if status != 200:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert httpx.get(f"{site.url}/healthz").status_code == 200
