"""REST for programs: documents in and out, traces, feedback; each by a key with its scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from assistant.answer_pairs import add_pair
from assistant.build import Rungs, build
from assistant.home import owned
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access.people import SCOPES, People
from ui.server import create_app

OWN = f"http://127.0.0.1:{PORT}"
LAMP = ("files", ("lamp.md", b"# Lamps\n\nA lamp is switched on with the red lever.\n", "text/markdown"))


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("rest")
    with owned(home):
        built = build(settings_of(home))
        yield built
        built.close()


@pytest.fixture(scope="module")
def web(rungs: Rungs) -> Iterator[TestClient]:
    with TestClient(create_app(rungs, TOKEN, PORT), base_url=OWN, raise_server_exceptions=False) as client:
        yield client


def asked(web: TestClient) -> Any:
    body = {"messages": [{"role": "user", "content": "How is a lamp switched on?"}]}
    return web.post("/v1/chat/completions", json=body).json()["rungs"]


def test_documents_come_and_go(web: TestClient) -> None:
    done = web.post("/api/knowledge/sources/manual/documents", files=[LAMP])
    assert done.status_code == 200 and done.json()["added"] == 1, done.text
    again = web.post("/api/knowledge/sources/manual/documents", files=[LAMP]).json()
    assert (again["added"], again["unchanged"]) == (0, 1)
    (source,) = web.get("/api/knowledge/sources").json()["sources"]
    assert source["documents"] == 1
    found = web.get("/api/knowledge/search", params={"text": "red lever", "k": 1}).json()["results"]
    assert found[0]["document"] == "lamp.md"
    assert web.delete("/api/knowledge/sources/manual").json()["removed"] == 1
    assert web.get("/api/knowledge/sources").json()["sources"] == []
    gone = web.delete("/api/knowledge/sources/manual")
    assert gone.status_code == 404 and "no source" in gone.json()["error"]["message"]


@pytest.mark.parametrize("source", ["..", "a.b", "A", "%2e%2e", "x" * 65, "a b"])
def test_a_source_is_no_path(web: TestClient, source: str) -> None:
    assert web.post(f"/api/knowledge/sources/{source}/documents", files=[LAMP]).status_code in (400, 404, 405)


@pytest.mark.parametrize("name", ["../../evil.md", "..\\evil.md", "/etc/evil.md"])
def test_a_document_stays_in_its_folder(web: TestClient, rungs: Rungs, name: str) -> None:
    web.post("/api/knowledge/sources/paths/documents", files=[("files", (name, b"# Evil\n\nWords.\n"))])
    folder = rungs.settings.home / "uploads"
    assert {path.name for path in folder.rglob("*.md")} == {"evil.md"}
    assert not (rungs.settings.home / "evil.md").exists()
    web.delete("/api/knowledge/sources/paths")


def test_pairs_are_one_for_each_question_whoever_adds_them(web: TestClient, rungs: Rungs) -> None:
    def send(question: str, answer: str) -> Any:
        body = {"pairs": [{"question": question, "answer": answer}]}
        return web.post("/api/knowledge/sources/answers/pairs", json=body)

    add_pair(rungs.store, rungs.settings.home, "How is a lamp dimmed?", "Turn the brass ring.", "ann")
    assert send("how is a LAMP dimmed", "Turn the silver ring.").json()["updated"] == 1
    (document,) = web.get("/api/knowledge/documents", params={"source": "answers"}).json()["documents"]
    named = {"source": "answers", "document": document["path"]}
    (passage,) = web.get("/api/knowledge/documents/passages", params=named).json()["passages"]
    assert passage["text"] == "Turn the silver ring."
    refused = send(" ", "Nothing.")
    assert refused.status_code == 400 and "question is empty" in refused.json()["error"]["message"]
    assert web.delete("/api/knowledge/documents", params=named).json()["removed"] == 1
    assert not list((rungs.settings.home / "uploads" / "answers").iterdir())
    web.delete("/api/knowledge/sources/answers")


def test_a_damaged_document_is_named_and_the_others_are_kept(web: TestClient) -> None:
    files = [LAMP, ("files", ("broken.pdf", b"not a pdf", "application/pdf"))]
    done = web.post("/api/knowledge/sources/mixed/documents", files=files).json()
    assert done["added"] == 1 and done["failed"][0]["source"].endswith("broken.pdf")
    web.delete("/api/knowledge/sources/mixed")


def test_traces_are_found_and_rated(web: TestClient) -> None:
    told = asked(web)
    (first, *_) = web.get("/api/conversations/traces", params={"limit": 5}).json()["traces"]
    assert first["id"] == told["trace_id"]
    assert web.get(f"/api/conversations/traces/{told['trace_id']}").json()["answer"]["outcome"] == told["outcome"]
    given = {"trace_id": told["trace_id"], "value": -1, "reason": "Wrong"}
    assert web.post("/api/feedback", json=given).json() == {"kept": True}
    assert web.get("/api/conversations/traces").json()["traces"][0]["feedback"] == -1
    assert web.get("/api/conversations/traces/unheard-of").status_code == 404
    assert web.post("/api/feedback", json={**given, "trace_id": "x"}).status_code == 404
    assert web.post("/api/feedback", json={**given, "value": 7}).status_code == 400


def test_an_erased_conversation_is_gone_with_its_questions(web: TestClient) -> None:
    told, other = asked(web), asked(web)
    path = f"/api/conversations/{told['conversation_id']}"
    assert web.get(path).status_code == 200
    assert web.delete(path).json() == {"corrections": 0, "wiped": True}
    assert web.get(path).status_code == 404
    assert web.get(f"/api/conversations/traces/{told['trace_id']}").status_code == 404
    assert web.get(f"/api/conversations/{other['conversation_id']}").status_code == 200
    again = web.delete(path)
    assert again.status_code == 404 and "no conversation" in again.json()["error"]["message"]


def test_adapters_say_why_there_are_none(web: TestClient) -> None:
    answer = web.get("/api/adapters")
    assert answer.status_code == 409 and "elsewhere" in answer.json()["error"]["message"]
    assert web.post("/api/adapters/house", json={"action": "promote"}).status_code == 409
    assert web.post("/api/adapters/house", json={"action": "explode"}).status_code == 400


def test_what_it_does_is_counted_without_a_word_of_anybodys(web: TestClient) -> None:
    asked(web)
    told = web.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    assert "rungs_questions_total{level=" in told.text and "rungs_api_answers_under_way 0.0" in told.text
    assert "lamp" not in told.text
    assert web.get("/readyz").json() == {"ready": True, "problems": {}}


def test_a_key_opens_its_scope_and_no_other(rungs: Rungs) -> None:
    people = People(rungs.engine)
    people.add("ann", "owner", "correct horse battery")
    paths = {
        "ask": "/v1/models",
        "knowledge": "/api/knowledge/sources",
        "conversations": "/api/conversations/traces",
        "adapters": "/api/adapters",
        "metrics": "/metrics",
    }
    with TestClient(create_app(rungs, TOKEN, PORT, people), base_url=OWN) as web:
        for scope in SCOPES:
            _, secret = people.add_key(scope, [scope], "ann")
            headers = {"authorization": f"Bearer {secret}"}
            for wanted, path in paths.items():
                status = web.get(path, headers=headers).status_code
                assert (status == 403) == (wanted != scope), (scope, path, status)
            status = web.delete("/api/conversations/none", headers=headers).status_code
            assert status == (404 if scope == "conversations" else 403), scope
        assert web.get("/v1/models").status_code == 401
