"""What is logged, counted and sent to a collector: enough to see what happens, and nobody's words."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.errors import BadSettings
from assistant.settings import read_settings
from tests.ui.processes import process
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.access.people import People
from ui.observing.logs import JsonLines, TextLines
from ui.server import create_app

OWN = f"http://127.0.0.1:{PORT}"
WORDS = "Where is the crimson lighthouse?"
ASK = {"model": "rungs/prompting", "messages": [{"role": "user", "content": WORDS}]}


@pytest.fixture
def rungs(tmp_path: Path) -> Iterator[Rungs]:
    built = build(settings_of(tmp_path / "home"))
    yield built
    built.close()


@pytest.fixture
def written() -> Iterator[StringIO]:
    """The log, as JSON."""
    text, ours = StringIO(), logging.getLogger("ui")
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines())
    ours.addHandler(handler)
    before = ours.level
    ours.setLevel(logging.DEBUG)
    yield text
    ours.removeHandler(handler)
    ours.setLevel(before)


@pytest.fixture
def web(rungs: Rungs) -> Iterator[TestClient]:
    with TestClient(create_app(rungs, TOKEN, PORT), base_url=OWN, raise_server_exceptions=False) as client:
        yield client


def lines(written: StringIO, message: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in told if line["message"] == message]


def test_a_request_is_one_line_without_what_its_asker_made_up(web: TestClient, written: StringIO) -> None:
    web.get("/v1/models/secret-name?token=hunter2", headers={"x-request-id": "a-sane-request-id"})
    web.get("/setup?token=hunter2")
    web.get("/nothing/hunter2", headers={"host": "evil.example"})
    found = lines(written, "request")
    assert [(line["method"], line["route"], line["status"]) for line in found] == [
        ("GET", "/v1/models/{name:path}", 404),
        ("GET", "/setup", found[1]["status"]),
        ("GET", "/…", 421),
    ]
    assert found[0]["request_id"] == "a-sane-request-id" and found[0]["ms"] >= 0
    assert "hunter2" not in written.getvalue() and "secret-name" not in written.getvalue()


@pytest.mark.parametrize("given", ["short", "x" * 65, 'quo"te-and-more', "spaces in it here", ""])
def test_a_request_has_an_id_that_cannot_forge_a_line(web: TestClient, given: str) -> None:
    sane = web.get("/healthz", headers={"x-request-id": "0123456789abcdef"})
    assert sane.headers["x-request-id"] == "0123456789abcdef"
    made = web.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"]
    assert made != given and len(made) == 16


def test_an_answer_is_one_line_with_the_id_of_its_request_and_without_text(
    web: TestClient, rungs: Rungs, written: StringIO
) -> None:
    answer = web.post("/v1/chat/completions", json=ASK, headers={"x-request-id": "request-of-a-test"}).json()
    (line,) = lines(written, "question")
    told = {name: line[name] for name in ("trace_id", "level", "answered_by", "outcome", "surface", "request_id")}
    assert told == {
        "trace_id": answer["rungs"]["trace_id"], "answered_by": "prompting", "outcome": "answered", "surface": "api",
        "level": "info",
        "request_id": "request-of-a-test",
    }  # fmt: skip
    assert line["tokens_out"] == answer["usage"]["completion_tokens"] > 0
    assert "crimson" not in written.getvalue()


def test_text_stands_in_the_log_where_the_owner_wants_it(tmp_path: Path, written: StringIO) -> None:
    built = build(settings_of(tmp_path / "home").model_copy(update={"log_text": True}))
    try:
        with TestClient(create_app(built, TOKEN, PORT), base_url=OWN) as web:
            web.post("/v1/chat/completions", json=ASK)
        assert lines(written, "question")[0]["question"] == WORDS
    finally:
        built.close()


def test_a_refused_request_is_noted_with_the_role_of_whoever_asked(rungs: Rungs, written: StringIO) -> None:
    people = People(rungs.engine)
    people.add("ann", "owner", "correct horse battery")
    _, secret = people.add_key("a program", ["ask"], "ann")
    with TestClient(create_app(rungs, TOKEN, PORT, people), base_url=OWN) as web:
        web.get("/metrics")
        web.get("/metrics", headers={"authorization": f"Bearer {secret}"})
    assert [(line["status"], line["role"]) for line in lines(written, "request")] == [(401, ""), (403, "")]
    assert secret not in written.getvalue()


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("ui", logging.INFO, "", 0, "one\ntwo %s", ("three\r\nfour",), None)
    record.fields = {"name": "a\nb"}
    for formatter in (TextLines(), JsonLines()):
        assert len(formatter.format(record).splitlines()) == 1


def test_what_happens_is_counted(web: TestClient, rungs: Rungs) -> None:
    web.post("/v1/chat/completions", json=ASK)
    web.get("/v1/models/none")
    told = web.get("/metrics").text
    for line in (
        'rungs_questions_total{level="prompting",outcome="answered"} 1.0',
        'rungs_answer_seconds_count{level="prompting"} 1.0',
        'rungs_answer_seconds_bucket{le="+Inf",level="prompting"} 1.0',
        "rungs_answers_under_way 0.0",
        f"rungs_places {rungs.settings.slots + 40}.0",
        'rungs_handoffs{state="waiting"} 0.0',
        'rungs_requests_total{class="/v1",status="200"} 1.0',
        'rungs_requests_total{class="/v1",status="404"} 1.0',
    ):
        assert line in told, line
    assert 'rungs_tokens_total{direction="out"} 0.0' not in told and "process_resident_memory_bytes" in told


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP."""

    got: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.got.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    got: list[ExportTraceServiceRequest] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Collector,), {"got": got})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()


def spans_of(got: list[ExportTraceServiceRequest]) -> list[Any]:
    return [
        span for request in got for resource in request.resource_spans for scope in resource.scope_spans
        for span in scope.spans
    ]  # fmt: skip


def attributes(span: Any) -> dict[str, Any]:
    kinds = {entry.key: entry.value for entry in span.attributes}
    return {name: getattr(value, value.WhichOneof("value")) for name, value in kinds.items()}


def test_a_collector_gets_a_request_its_answer_and_the_levels_that_were_tried(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    url, got = collector
    built = build(settings_of(tmp_path / "home").model_copy(update={"otel": url}))
    try:
        with TestClient(create_app(built, TOKEN, PORT), base_url=OWN) as web:
            trace_id = web.post("/v1/chat/completions", json=ASK).json()["rungs"]["trace_id"]
        trace = built.traces.load(trace_id)  # the application's end has sent what was left
        by_name = {span.name: span for span in spans_of(got)}
        request, answer, tried = by_name["POST /v1/chat/completions"], by_name["answer"], by_name["level prompting"]
        assert answer.parent_span_id == request.span_id and tried.parent_span_id == answer.span_id
        assert request.trace_id == answer.trace_id == tried.trace_id
        assert answer.start_time_unix_nano <= tried.start_time_unix_nano < tried.end_time_unix_nano
        assert tried.end_time_unix_nano <= answer.end_time_unix_nano <= request.end_time_unix_nano
        assert abs((answer.end_time_unix_nano - answer.start_time_unix_nano) / 1e9 - trace.seconds) < 0.001
        said = attributes(answer)
        drafts = [attempt.draft for attempt in trace.attempts if attempt.draft]
        assert said == {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.request.model": "scripted",
            "gen_ai.usage.input_tokens": sum(draft.tokens_in for draft in drafts),
            "gen_ai.usage.output_tokens": sum(draft.tokens_out for draft in drafts),
            "app.transfer.level": "prompting", "app.outcome": "answered", "app.trace.id": trace_id,
            "app.surface": "api",
        }  # fmt: skip
        assert attributes(tried)["app.verdict"] == "accepted"
        assert attributes(request)["http.response.status_code"] == 200
        assert b"crimson" not in b"".join(part.SerializeToString() for part in got)
    finally:
        built.close()


def test_a_served_log_is_json_where_that_is_set_and_holds_no_query(tmp_path: Path) -> None:
    with process(tmp_path, RUNGS_LOG="json") as served:
        httpx.get(f"{served.url}/v1/models/none?secret=hunter2", trust_env=False)
        served.process.terminate()
        assert served.process.wait(30) == 0
        told = [json.loads(line) for line in served.said.splitlines() if line.startswith("{")]
    (line,) = (line for line in told if line["message"] == "request")
    assert (line["route"], line["status"], line["level"]) == ("/v1/models/{name:path}", 404, "info")
    assert "hunter2" not in served.said


def test_a_collector_is_named_by_its_url(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"otel: .*http://collector:4318"):
        read_settings(home=tmp_path, otel="collector:4318")
