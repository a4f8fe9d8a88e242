"""Every route by every role: nobody, a user, an agent, an owner, and a program with a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.errors import AssistantError
from assistant.home import owned
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access.doors import COOKIE, DOORS, door_of
from ui.access.login import TRIES, SetUp
from ui.access.people import ROLES, People
from ui.server import create_app
from ui.serving import check_address

OWN = f"http://127.0.0.1:{PORT}"
GOOD = "correct horse battery"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello?"}]}
ROUTES: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/healthz"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/readyz"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/metrics"): ("owner",),
    ("GET", "/login"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/own/login.css"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/config"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/live/conversation/none"): ("visitor", "user", "agent", "owner", "key"),
    ("HEAD", "/live/desk"): ("agent", "owner"),
    ("GET", "/widget/rungs.js"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/widget/frame/none"): ("visitor", "user", "agent", "owner", "key"),
    ("POST", "/widget/api/session"): ("visitor", "user", "agent", "owner", "key"),
    ("GET", "/widget/preview/none"): ("owner",),
    ("GET", "/v1/models"): ("user", "agent", "owner", "key"),
    ("GET", "/v1/models/rungs"): ("user", "agent", "owner", "key"),
    ("POST", "/v1/chat/completions"): ("user", "agent", "owner", "key"),
    ("GET", "/api/knowledge/sources"): ("owner",),
    ("GET", "/api/knowledge/search?text=x"): ("owner",),
    ("DELETE", "/api/knowledge/sources/none"): ("owner",),
    ("GET", "/api/conversations/traces"): ("owner",),
    ("GET", "/api/conversations/traces/none"): ("owner",),
    ("GET", "/api/knowledge/documents"): ("owner",),
    ("GET", "/api/knowledge/documents/passages?source=x&document=y"): ("owner",),
    ("DELETE", "/api/knowledge/documents?source=x&document=y"): ("owner",),
    ("POST", "/api/knowledge/sources/none/pairs"): ("owner",),
    ("GET", "/api/conversations"): ("owner",),
    ("GET", "/api/conversations/none"): ("owner",),
    ("DELETE", "/api/conversations/none"): ("owner",),
    ("GET", "/api/corrections"): ("owner",),
    ("POST", "/api/corrections/none"): ("owner",),
    ("GET", "/api/webhooks"): ("owner",),
    ("POST", "/api/webhooks"): ("owner",),
    ("DELETE", "/api/webhooks/none"): ("owner",),
    ("GET", "/api/webhooks/none/deliveries"): ("owner",),
    ("GET", "/api/nothing"): ("owner",),
    ("GET", "/openapi.json"): ("user", "agent", "owner", "key"),
    ("GET", "/api/adapters"): ("owner",),
    ("POST", "/api/adapters/none"): ("owner",),
    ("POST", "/mcp"): ("user", "agent", "owner", "key"),
    ("POST", "/api/feedback"): ("user", "agent", "owner", "key"),
    ("GET", "/console"): ("owner",),
    ("GET", "/console/"): ("owner",),
    ("GET", "/console/config"): ("owner",),
    ("GET", "/console/gradio_api/info"): ("owner",),
    ("POST", "/console/gradio_api/upload"): ("owner",),
    ("POST", "/console/gradio_api/queue/join"): ("owner",),
    ("GET", "/console/gradio_api/queue/data?session_hash=x"): ("owner",),
    ("GET", "/console/theme.css"): ("owner",),
    ("GET", "/console/files/questions.csv"): ("owner",),
    ("GET", "/console/files/unanswered.csv"): ("owner",),
    ("GET", "/console/files/golden.jsonl"): ("owner",),
    ("GET", "/copilot"): ("agent", "owner"),
    ("GET", "/copilot/"): ("agent", "owner"),
    ("GET", "/copilot/config"): ("agent", "owner"),
    ("GET", "/copilot/gradio_api/info"): ("agent", "owner"),
    ("POST", "/copilot/gradio_api/upload"): ("agent", "owner"),
    ("POST", "/copilot/gradio_api/queue/join"): ("agent", "owner"),
    ("GET", "/copilot/gradio_api/queue/data?session_hash=x"): ("agent", "owner"),
}
SHUT = (401, 403, 303)


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("doors")
    with owned(home):
        built = build(settings_of(home))
        yield built
        built.close()


@pytest.fixture(scope="module")
def people(rungs: Rungs) -> People:
    people = People(rungs.engine)
    for name in ("owner", "user", "agent"):
        people.add(name, name, GOOD)  # type: ignore[arg-type]
    return people


@pytest.fixture(scope="module")
def web(rungs: Rungs, people: People) -> Iterator[TestClient]:
    with TestClient(
        create_app(rungs, TOKEN, PORT, people), base_url=OWN, follow_redirects=False, raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture(scope="module")
def headers(people: People) -> dict[str, dict[str, str]]:
    _, key = people.add_key("a program", ["ask"], "owner")
    sessions = {role: {"cookie": f"{COOKIE}={people.log_in(role, GOOD)}"} for role in ROLES[1:]}
    return {"visitor": {}, "key": {"authorization": f"Bearer {key}"}, **sessions}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("role", ["visitor", "user", "agent", "owner", "key"])
def test_a_route_is_open_to_exactly_those_who_may(
    web: TestClient, headers: dict[str, dict[str, str]], method: str, path: str, role: str
) -> None:
    web.cookies.clear()
    body = {"json": ASK} if path.startswith("/v1/chat") else {}
    status = web.request(method, path, headers=headers[role], **body).status_code  # type: ignore[arg-type]
    assert (status not in (401, 403)) == (role in ROUTES[method, path]), status


def test_every_route_of_our_own_names_who_may_use_it(rungs: Rungs, people: People) -> None:
    app = create_app(rungs, TOKEN, PORT, people)
    included = [
        inner for route in app.routes for inner in getattr(getattr(route, "original_router", None), "routes", ())
    ]
    paths = [str(route.path) for route in (*app.routes, *included) if hasattr(route, "path")]
    assert "/v1/chat/completions" in paths and "/login" in paths
    assert paths.count("") == 1, "the chat page, mounted at the root"
    for path in filter(None, paths):
        assert door_of(path).path != "/", f"{path} names nobody; add it to ui/access/doors.py"
    assert DOORS[-1].path == "/"


@pytest.mark.parametrize(
    "path", ["/consoles", "/console/../v1/models", "//console/", "/%63onsole/", "/CONSOLE/", "/v1"]
)
def test_no_spelling_leads_around_a_door(web: TestClient, path: str) -> None:
    web.cookies.clear()
    answer = web.get(path)
    assert "gradio" not in answer.text or "Rungs console" not in answer.text


def test_a_person_is_sent_to_log_in_and_back(web: TestClient, people: People) -> None:
    web.cookies.clear()
    answer = web.get("/console/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fconsole%2F")
    page = web.get(answer.headers["location"])
    assert 'value="/console/"' in page.text and "default-src 'none'" in page.headers["content-security-policy"]
    wrong = web.post("/login", data={"name": "owner", "password": "wrong", "next": "/console/"})
    assert wrong.status_code == 401 and "do not belong together" in wrong.text
    right = web.post("/login", data={"name": "owner", "password": GOOD, "next": "/console/"})
    assert (right.status_code, right.headers["location"]) == (303, "/console/")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert web.get("/console/").status_code == 200
    assert web.post("/logout").status_code == 303
    web.cookies.clear()
    assert web.get("/console/", headers={"accept": "text/html"}).status_code == 303


@pytest.mark.parametrize("next", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)", ""])
def test_logging_in_leads_nowhere_else(rungs: Rungs, people: People, next: str) -> None:
    with TestClient(create_app(rungs, TOKEN, PORT, people), base_url=OWN, follow_redirects=False) as web:
        answer = web.post("/login", data={"name": "user", "password": GOOD, "next": next})
        assert answer.status_code == 303
        assert answer.headers["location"] in ("/", "/console/")


def test_guessing_is_slowed_down(rungs: Rungs, people: People) -> None:
    with TestClient(create_app(rungs, TOKEN, PORT, people), base_url=OWN, follow_redirects=False) as web:
        tries = int(TRIES.split("/")[0])
        given = [web.post("/login", data={"name": "owner", "password": "wrong"}).status_code for _ in range(tries + 2)]
    assert given == [401] * tries + [429] * 2


def test_a_hostile_name_is_only_words(web: TestClient) -> None:
    answer = web.post("/login", data={"name": '"><script>alert(1)</script>', "password": "x"})
    assert "<script" not in answer.text and "&lt;script&gt;" in answer.text


def test_the_set_up_link_makes_one_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with owned(home):
        rungs = build(settings_of(home))
        people = People(rungs.engine)
        link = SetUp(people)
        with TestClient(create_app(rungs, TOKEN, PORT, people, link), base_url=OWN, follow_redirects=False) as web:
            assert web.get("/console/").status_code == 200, "without accounts this machine is the owner's"
            assert web.get("/setup?token=wrong").status_code == 403
            assert web.get(f"/setup?token={link.token}").status_code == 200
            form = {"token": link.token, "name": "ann", "password": "short"}
            assert web.post("/setup", data=form).status_code == 400
            made = web.post("/setup", data={**form, "password": GOOD})
            assert made.status_code == 303 and web.get("/console/").status_code == 200
            web.cookies.clear()
            assert web.get("/console/").status_code == 401
            assert web.post("/setup", data={**form, "name": "eve", "password": GOOD}).status_code == 403
            assert [account.name for account in people.accounts()] == ["ann"]
        beyond = rungs.settings.model_copy(update={"host": "0.0.0.0"})
        with pytest.raises(AssistantError, match="hosts"):
            check_address(beyond)
        check_address(beyond.model_copy(update={"hosts": ["support.example.com"]}))
        rungs.close()


def test_a_named_host_is_served_and_its_own_pages_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with owned(home):
        rungs = build(settings_of(home).model_copy(update={"hosts": ["support.example.com"]}))
        with TestClient(create_app(rungs, TOKEN, PORT), base_url="https://support.example.com") as web:
            assert web.get("/healthz").status_code == 200
            own = {"origin": "https://support.example.com"}
            assert web.get("/healthz", headers=own).status_code == 200
            assert web.get("/healthz", headers={"origin": "https://evil.test"}).status_code == 421
            assert web.get("/healthz", headers={"host": "evil.test"}).status_code == 421
        rungs.close()
