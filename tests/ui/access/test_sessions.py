"""A session is one browser's, over when it should be, and its cookie travels as it should."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import Engine
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.errors import AssistantError, BadSettings
from assistant.home import owned
from assistant.settings import read_settings
from tests.ui.serving import CommandLine
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access import people as module
from ui.access.doors import COOKIE, SECURE_COOKIE
from ui.access.people import IDLE_SECONDS, SEEN_SECONDS, SESSION_SECONDS, People
from ui.server import create_app
from ui.serving import listening

GOOD = "correct horse battery"
NAME = "support.example.com"
HTTP, HTTPS = f"http://127.0.0.1:{PORT}", f"https://{NAME}"
FORM = {"name": "ann", "password": GOOD, "next": "/console/"}


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("sessions")
    with owned(home):
        built = build(settings_of(home).model_copy(update={"hosts": [NAME]}))
        People(built.engine).add("ann", "owner", GOOD)
        yield built
        built.close()


@pytest.fixture(scope="module")
def app(rungs: Rungs) -> Any:
    return create_app(rungs, TOKEN, PORT)


@pytest.fixture
def plain(app: Any) -> Iterator[TestClient]:
    yield TestClient(app, base_url=HTTP, follow_redirects=False)


@pytest.fixture
def secure(app: Any) -> Iterator[TestClient]:
    yield TestClient(app, base_url=HTTPS, follow_redirects=False)


@pytest.fixture
def people(engine_of_each: Engine) -> People:
    people = People(engine_of_each)
    people.add("ann", "owner", GOOD)
    return people


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + seconds)


# what a session lasts


def test_a_session_of_which_nothing_is_heard_is_over(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = people.log_in("ann", GOOD) or ""
    with monkeypatch.context() as clock:
        later(clock, IDLE_SECONDS - 1)
        assert people.who(secret), "and this was heard"
    with monkeypatch.context() as clock:
        later(clock, 2 * IDLE_SECONDS - 10)
        assert people.who(secret)
    with monkeypatch.context() as clock:
        later(clock, 3 * IDLE_SECONDS)
        assert people.who(secret) is None


def test_a_busy_session_is_over_all_the_same(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = people.log_in("ann", GOOD) or ""
    passed = 0.0
    while passed < SESSION_SECONDS - 1:
        with monkeypatch.context() as clock:
            later(clock, passed)
            assert people.who(secret), passed
        passed += IDLE_SECONDS / 2
    later(monkeypatch, SESSION_SECONDS + 1)
    assert people.who(secret) is None


def test_requests_one_after_the_other_write_nothing(people: People, engine_of_each: Engine) -> None:
    from sqlalchemy import event

    secret, written = people.log_in("ann", GOOD) or "", []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE"):
            written.append(statement)

    event.listen(engine_of_each, "before_cursor_execute", note)
    for _ in range(5):
        assert people.who(secret)
    assert written == [] and SEEN_SECONDS > 1


def test_logging_out_everywhere_ends_the_sessions_of_one_account_alone(people: People) -> None:
    people.add("ben", "agent", GOOD)
    here, there, other = (people.log_in(name, GOOD) or "" for name in ("ann", "ann", "ben"))
    people.log_out(here, everywhere=True)
    assert people.who(here) is None and people.who(there) is None and people.who(other)
    people.log_out("made up", everywhere=True)
    assert people.who(other)
    assert people.log_out_all("ben") == 1 and people.who(other) is None
    with pytest.raises(AssistantError, match="no account"):
        people.log_out_all("eve")


def test_an_owner_logs_somebody_out_from_the_command_line(home: Path) -> None:
    line = CommandLine(home)
    line.json("accounts", "create-owner", "ann", stdin=f"{GOOD}\n")
    assert line.json("accounts", "log-out", "ann") == {"name": "ann", "sessions_ended": 0}
    assert "0 sessions" in line("accounts", "log-out", "ann").stdout
    assert "no account" in line.refused("accounts", "log-out", "eve")


# how it comes and goes


def test_a_session_that_somebody_put_into_a_browser_is_not_taken_on(plain: TestClient, rungs: Rungs) -> None:
    people = People(rungs.engine)
    for planted in ("a-secret-that-an-attacker-knows", people.log_in("ann", GOOD) or ""):
        plain.cookies.clear()
        plain.cookies.set(COOKIE, planted, domain="127.0.0.1")
        answer = plain.post("/login", data=FORM)
        assert answer.status_code == 303
        fresh = answer.cookies[COOKIE]
        assert fresh != planted and people.who(fresh)
        assert people.who(planted) is None, "neither before nor after"


def test_by_https_the_cookie_is_this_hosts_alone(secure: TestClient) -> None:
    answer = secure.post("/login", data=FORM)
    assert answer.status_code == 303, answer.text
    (line,) = answer.headers.get_list("set-cookie")
    name, *attributes = line.split("; ")
    assert name.startswith(f"{SECURE_COOKIE}=") and SECURE_COOKIE.startswith("__Host-")
    assert {one.lower() for one in attributes} >= {"secure", "httponly", "path=/", "samesite=lax"}
    assert not any(one.lower().startswith("domain") for one in attributes)
    assert secure.get("/console/").status_code == 200
    gone = secure.post("/logout")
    (line,) = gone.headers.get_list("set-cookie")
    assert line.startswith(f"{SECURE_COOKIE}=") and "Secure" in line and "Path=/" in line, "else it would be refused"
    assert secure.get("/console/").status_code == 401


@pytest.mark.parametrize(("base", "name"), [(HTTPS, COOKIE), (HTTP, SECURE_COOKIE)])
def test_a_cookie_of_the_other_name_opens_nothing(app: Any, rungs: Rungs, base: str, name: str) -> None:
    secret = People(rungs.engine).log_in("ann", GOOD)
    web = TestClient(app, base_url=base, follow_redirects=False, headers={"cookie": f"{name}={secret}"})
    assert web.get("/console/").status_code == 401


def test_the_log_out_button_ends_every_session_where_it_says_so(plain: TestClient, rungs: Rungs) -> None:
    people = People(rungs.engine)
    elsewhere = people.log_in("ann", GOOD) or ""
    plain.post("/login", data=FORM)
    assert plain.post("/logout").status_code == 303
    assert people.who(elsewhere)
    plain.post("/login", data=FORM)
    assert plain.post("/logout", data={"everywhere": "true"}).status_code == 303
    assert people.who(elsewhere) is None


# https


def test_whoever_came_by_https_is_told_to_stay_there(plain: TestClient, secure: TestClient) -> None:
    for path in ("/", "/login", "/healthz", "/own/login.css", "/console/", "/v1/models", "/widget/rungs.js"):
        assert secure.get(path).headers.get_list("strict-transport-security") == ["max-age=31536000"], path
        assert "strict-transport-security" not in plain.get(path).headers, path


@pytest.mark.parametrize("set_cookie", ["a=b", "a=b; Path=/; SameSite=lax", "a=secure", "a=b; secure"])
def test_no_cookie_travels_without_encryption_again(rungs: Rungs, set_cookie: str) -> None:
    from ui.access.doorkeeper import Doorkeeper

    async def sets(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Set-Cookie", set_cookie.encode())]})
        await send({"type": "http.response.body", "body": b""})

    inner = Doorkeeper(sets, PORT, People(rungs.engine), [NAME])
    told = TestClient(inner, base_url=HTTPS).get("/login").headers["set-cookie"]
    assert [one.strip().lower() for one in told.split(";")].count("secure") == 1
    assert TestClient(inner, base_url=HTTP).get("/login").headers["set-cookie"] == set_cookie


@pytest.mark.parametrize(
    ("peer", "proxies", "believed"),
    [
        ("10.0.0.7", [], False),
        ("127.0.0.1", [], False),
        ("10.0.0.7", ["10.0.0.8"], False),
        ("10.0.0.7", ["10.0.0.7"], True),
        ("10.0.0.7", ["10.0.0.0/24"], True),
        ("10.0.1.7", ["10.0.0.0/24"], False),
    ],
)
def test_only_a_proxy_of_ours_says_that_it_was_https(
    rungs: Rungs, app: Any, peer: str, proxies: list[str], believed: bool
) -> None:
    config = uvicorn.Config(app, **listening(rungs.settings.model_copy(update={"proxies": proxies})))
    config.load()
    web = TestClient(config.loaded_app, base_url=f"http://{NAME}", client=(peer, 50000))  # type: ignore[arg-type]
    headers = {"x-forwarded-proto": "https"}
    assert ("strict-transport-security" in web.get("/healthz", headers=headers).headers) == believed
    cookies = web.post("/login", data=FORM, headers=headers, follow_redirects=False).headers["set-cookie"]
    assert cookies.startswith(SECURE_COOKIE if believed else f"{COOKIE}=")


@pytest.mark.parametrize("wrong", ["haproxy", "*", "10.0.0.7/8", ""])
def test_a_proxy_that_would_never_be_believed_is_said(wrong: str) -> None:
    with pytest.raises(BadSettings, match="no address and no network"):
        read_settings(proxies=[wrong])
