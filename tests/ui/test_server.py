"""The web application keeps everybody out but this machine's own pages and command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from assistant.attachments import BYTES_MAX
from assistant.build import Rungs, build
from assistant.errors import AssistantError, HomeInUse
from assistant.home import owned
from assistant.settings import Settings, read_settings
from knowledge.ingest import ingest
from tests.ui.browsing import RUNGS
from ui import serving
from ui.access.doorkeeper import HEADERS
from ui.access.page_policy import policy_of
from ui.server import create_app
from ui.serving import load_demo, serve

PORT = 7860
OWN = f"http://127.0.0.1:{PORT}"
TOKEN = "a-token-of-this-test"
FOREIGN = "https://evil.test"
LOOPBACK = ("127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "localhost", "LOCALHOST")
NOT_LOOPBACK = ("0.0.0.0", "::", "192.168.1.5", "example.com", "", "127.0.0.1.evil.test", "127.1", "::1%lo")
PAGES = ("/", "/console/", "/config", "/console/config", "/healthz", "/theme.css", "/nothing-here")
GRADIO = ("/config", "/console/config", "/gradio_api/info", "/console/gradio_api/info", "/gradio_api/startup-events")


def settings_of(home: Path) -> Settings:
    return read_settings(home=home, model="scripted", embedder="hash", demo=False)


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("server")
    with owned(home):
        built = build(settings_of(home))
        yield built
        built.close()


@pytest.fixture(scope="module")
def web(rungs: Rungs) -> Iterator[TestClient]:
    with TestClient(
        create_app(rungs, TOKEN, PORT), base_url=OWN, follow_redirects=False, raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def small_rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(settings_of(tmp_path / "home"))
    yield built
    built.close()


def test_the_pages_are_there(web: TestClient) -> None:
    assert web.get("/healthz").json() == {"status": "ok"}
    for page in ("/", "/console/", "/console"):
        answer = web.get(page, follow_redirects=True)
        assert answer.status_code == 200 and "gradio" in answer.text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "host", ["evil.test", f"evil.test:{PORT}", "127.0.0.1", "127.0.0.1:9", f"127.0.0.1.evil.test:{PORT}", ""]
)
def test_a_foreign_host_is_not_served(web: TestClient, page: str, host: str) -> None:
    answer = web.get(page, headers={"host": host})
    assert answer.status_code == 421
    assert "not served here" in answer.text


def test_an_address_is_served_exactly_where_its_setting_is_taken(web: TestClient, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    for host in (*LOOPBACK, *NOT_LOOPBACK):
        named = f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"
        served = web.get("/healthz", headers={"host": named}).status_code
        assert served == (200 if host in LOOPBACK else 421), named
        if host in LOOPBACK:
            serving.check_address(settings.model_copy(update={"host": host}))


def test_a_page_of_another_loopback_address_is_foreign(web: TestClient) -> None:
    for host, origin, status in (
        ("127.0.0.2", "127.0.0.2", 200),
        ("127.0.0.1", "127.0.0.2", 421),
        ("127.0.0.1", "localhost", 421),
        ("[::1]", "127.0.0.1", 421),
    ):
        headers = {"host": f"{host}:{PORT}", "origin": f"http://{origin}:{PORT}"}
        assert web.get("/healthz", headers=headers).status_code == status, (host, origin)


def test_a_browser_leaves_out_the_port_80(small_rungs: Rungs) -> None:
    with TestClient(create_app(small_rungs, TOKEN, 80), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"host": "127.0.0.1"}).status_code == 200
        assert client.get("/healthz", headers={"host": "localhost:80"}).status_code == 200
        assert client.get("/healthz", headers={"host": f"127.0.0.1:{PORT}"}).status_code == 421
        assert client.get("/healthz", headers={"host": "evil.test"}).status_code == 421


@pytest.mark.parametrize("path", [*PAGES, *GRADIO])
@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://localhost:9", "file://", f"https://127.0.0.1:{PORT}"])
def test_a_foreign_origin_is_refused(web: TestClient, path: str, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        asked = {"origin": origin, "access-control-request-method": "POST"}
        answer = web.request(method, path, headers=asked)
        assert answer.status_code == 421, (method, path)
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", GRADIO)
def test_no_answer_lets_another_origin_read_it(web: TestClient, path: str) -> None:
    for headers in ({}, {"origin": OWN}):
        answer = web.get(path, headers=headers)
        assert answer.headers.get("access-control-allow-origin") in (None, OWN)


@pytest.mark.parametrize("page", PAGES)
def test_every_response_carries_the_security_headers(web: TestClient, page: str) -> None:
    answer = web.get(page)
    for name, value in HEADERS.items():
        if name == "Content-Security-Policy" and answer.headers["content-type"].startswith("text/html"):
            value = policy_of(answer.content)
        assert answer.headers.get_list(name) == [value], (page, name)


def test_a_page_names_no_other_host_to_load_from(web: TestClient) -> None:
    policy = web.get("/").headers["content-security-policy"]
    assert "http" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("root", ["", "/console"])
def test_nobody_can_watch_or_script_the_pages(web: TestClient, root: str) -> None:
    assert web.get(f"{root}/monitoring").status_code >= 400
    assert web.get(f"{root}/monitoring/summary").status_code >= 400
    assert web.get(f"{root}/gradio_api/mcp/sse").status_code >= 400
    for path in ("/docs", "/redoc"):
        assert web.get(f"{root}{path}").status_code >= 400, path


@pytest.mark.parametrize("root", ["", "/console"])
def test_what_answers_on_a_page_cannot_be_called_as_an_api(web: TestClient, root: str) -> None:
    told = web.get(f"{root}/gradio_api/info").json()
    assert told["named_endpoints"] == {} and told["unnamed_endpoints"] == {}
    queued = [d for d in web.get(f"{root}/config").json()["dependencies"] if d["queue"] is not False]
    assert queued
    for name in sorted({d["api_name"] for d in queued if d["api_name"]} | {"predict", "ask", "listed"}):
        for call in ("run", "api"):
            answer = web.post(f"{root}/gradio_api/{call}/{name}", json={"data": [], "session_hash": "s"})
            assert answer.status_code >= 400, (call, name)
    for function in queued:
        called = {"data": [], "fn_index": function["id"], "session_hash": "s"}
        assert web.post(f"{root}/gradio_api/run/predict", json=called).status_code >= 400, function["api_name"]


@pytest.mark.parametrize(("root", "most"), [("", BYTES_MAX // 1024), ("/copilot", 1), ("/console", 64 * 1024)])
def test_larger_uploads_than_a_page_needs_are_refused(web: TestClient, root: str, most: int) -> None:
    answer = web.post(f"{root}/gradio_api/upload", files={"files": ("big.bin", b"x" * (most * 1024 + 100_000))})
    assert answer.status_code >= 400


@pytest.mark.parametrize("root", ["", "/console"])
def test_no_file_of_the_machine_is_served(web: TestClient, root: str, rungs: Rungs) -> None:
    home = rungs.settings.home.resolve()
    for path in (home / "rungs.db", home / "lock", Path("/etc/passwd"), Path(serving.__file__)):
        for asked in (f"file={path}", f"file/{path}", f"proxy={FOREIGN}/"):
            assert web.get(f"{root}/gradio_api/{asked}").status_code >= 400, asked


def test_control_needs_the_token_and_no_browser(web: TestClient) -> None:
    own = {"authorization": f"Bearer {TOKEN}"}
    assert web.post("/control/sources", json={}).status_code == 403
    assert web.post("/control/sources", json={}, headers={"authorization": "Bearer x"}).status_code == 403
    assert web.post("/control/sources", json={}, headers={**own, "origin": OWN}).status_code == 403
    assert web.post("/control/sources", json={}, headers={**own, "origin": FOREIGN}).status_code == 421
    assert web.get("/control/sources", headers=own).status_code in (404, 405)
    assert web.post("/control/nothing", json={}, headers=own).status_code == 404
    answer = web.post("/control/search", json={"text": "lamp"}, headers=own)
    assert answer.status_code == 200 and json.loads(answer.text.splitlines()[-1])


@pytest.mark.parametrize("host", NOT_LOOPBACK)
def test_another_address_is_refused_with_the_reason(tmp_path: Path, host: str) -> None:
    with pytest.raises(AssistantError, match=r"only loopback .* no accounts"):
        serve(settings_of(tmp_path / "home").model_copy(update={"host": host}))
    assert not (tmp_path / "home").exists()


def test_a_port_in_use_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AssistantError, match=rf"port {port} on 127.0.0.1 .*--port"):
            serve(settings_of(tmp_path).model_copy(update={"port": port}))


def test_a_second_process_on_the_same_home_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}
    with owned(tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", RUNGS, "serve", "--port", "0", "--home", str(tmp_path)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=Path(serving.__file__).parents[1],
            timeout=120,
        )
    assert second.returncode == 1
    assert str(os.getpid()) in second.stderr and "in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_this_process_cannot_own_a_home_twice(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(HomeInUse), owned(tmp_path):
        pass


@pytest.fixture
def handbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "one.md").write_text("# Lamps\n\nA lamp is switched on by hand.\n")
    monkeypatch.setattr(serving, "HANDBOOK", folder)
    return folder


def test_the_handbook_is_loaded_once_and_follows_its_files(small_rungs: Rungs, handbook: Path) -> None:
    load_demo(small_rungs)
    first = small_rungs.store.known(serving.HANDBOOK_SOURCE)
    assert list(first) == ["one.md"]
    load_demo(small_rungs)
    assert small_rungs.store.known(serving.HANDBOOK_SOURCE) == first
    (handbook / "one.md").write_text("# Lamps\n\nA lamp is switched on by a lever.\n")
    load_demo(small_rungs)
    assert small_rungs.store.known(serving.HANDBOOK_SOURCE) != first


def test_a_removed_handbook_stays_removed(small_rungs: Rungs, handbook: Path) -> None:
    load_demo(small_rungs)
    small_rungs.store.remove(serving.HANDBOOK_SOURCE)
    load_demo(small_rungs)
    assert not small_rungs.store.known(serving.HANDBOOK_SOURCE)


def test_the_handbook_lives_beside_other_documents(small_rungs: Rungs, handbook: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kettle.md").write_text("# Kettles\n\nA kettle whistles.\n")
    list(ingest(small_rungs.store, [other]))
    load_demo(small_rungs)
    small_rungs.store.remove(serving.HANDBOOK_SOURCE)
    assert [source.documents for source in small_rungs.store.sources()] == [1]
