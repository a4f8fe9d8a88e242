"""The back door: every command works beside a running server, through it; nobody else gets in; leaving stops work."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant.build import Rungs, build, wire
from assistant.errors import AssistantError, HomeInUse
from assistant.home import RunningServer, owned
from assistant.models.scripted import ScriptedModel
from assistant.settings import Settings
from knowledge.errors import StorageFull
from tests.ui.serving import CommandLine, golden, served, serving
from ui.commands import table as commands
from ui.control import call_server

Served = tuple[Rungs, RunningServer]


@pytest.fixture
def server(home: Path) -> Iterator[RunningServer]:
    with serving(home) as (_, server):
        yield server


def post(server: RunningServer, path: str = "sources-list", content: bytes = b"{}", **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {server.token}"} | headers
    encoded = {name: value.encode("latin-1") for name, value in sent.items()}
    return httpx.post(f"{server.url}/control/{path}", content=content, headers=encoded, trust_env=False)


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


# who gets in


def test_the_owner_gets_in(server: RunningServer) -> None:
    assert [json.loads(line) for line in post(server).iter_lines()] == [{"result": {"sources": []}}]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}", "B\xe4r"]
)
def test_nobody_else_does(server: RunningServer, given: str) -> None:
    response = post(server, authorization=given.format(token=server.token))
    assert response.status_code == 403 and server.token not in response.text


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:7860"])
def test_no_browser_gets_in_even_with_the_token(server: RunningServer, origin: str) -> None:
    assert post(server, origin=origin).status_code == 403


def test_the_door_takes_posts_of_one_json_object_for_known_commands_only(server: RunningServer) -> None:
    assert post(server, "unheard-of").status_code == 404
    for content in (b"", b"{", b"[]", b"7", b"\xff"):
        assert post(server, content=content).status_code == 400
    headers = {"authorization": f"Bearer {server.token}"}
    got = httpx.get(f"{server.url}/control/sources-list", headers=headers, trust_env=False)
    assert got.status_code == 405


# every command, through it


def test_every_command_works_beside_a_running_server(
    server: RunningServer, rungs: CommandLine, pages: Path, tmp_path: Path
) -> None:
    with pytest.raises(HomeInUse), owned(rungs.home):
        pytest.fail("the server owns it")
    first = rungs.json("ingest", str(pages))
    assert first["added"] == 3 and rungs.json("ingest", str(pages))["unchanged"] == 3
    assert rungs.json("ingest", str(tmp_path / "missing"), status=1)["failed"]
    asked = rungs.json("ask", "How is a lamp switched on?")
    again = rungs.json("ask", "and off?", "--conversation", asked["conversation_id"])
    assert again["conversation_id"] == asked["conversation_id"]
    assert rungs.json("search", "kettle")["results"][0]["document"] == "kettles.md"
    batch = rungs("search", "--batch", str(golden(tmp_path / "golden.jsonl")))
    assert [json.loads(line)["id"] for line in batch.stdout.splitlines()] == ["r0", "r1", "r2"]
    assert rungs.json("evaluate", str(tmp_path / "golden.jsonl"), "--levels", "auto")["levels"]["auto"]["n"] == 3
    assert rungs.json("reindex")["passages"] == first["passages"]
    checks = {check["name"]: check["ok"] for check in rungs.json("doctor", status=1)["checks"]}
    assert checks["index"] and checks["model"] and checks["port"] and not checks["calibration"]
    (source,) = rungs.json("sources", "list")["sources"]
    assert rungs.json("sources", "remove", source["source"])["removed"] == 3
    assert "at least" in rungs.refused("calibrate", str(tmp_path / "golden.jsonl"))


def test_paths_are_those_of_the_place_where_the_command_was_typed(
    server: RunningServer, rungs: CommandLine, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def noted(name: str) -> commands.Command:
        def command(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
            sent[name] = dict(arguments)
            yield {"result": {"failed": []}}

        return command

    for name in commands.COMMANDS:
        monkeypatch.setitem(commands.COMMANDS, name, noted(name))  # type: ignore[arg-type]
    monkeypatch.chdir(pages)
    rungs("ingest", "bridges", "--json")
    rungs("search", "--batch", "golden.jsonl", "--json")
    rungs("evaluate", "golden.jsonl", "--json")
    rungs("calibrate", "golden.jsonl", "--json")
    rungs("sources", "remove", "bridges", "--json")
    assert sent["ingest"]["paths"] == [str(pages / "bridges")]
    assert {sent["search"]["batch"], sent["evaluate"]["file"], sent["calibrate"]["file"]} == {
        str(pages / "golden.jsonl")
    }
    assert sent["sources-remove"] == {"source": "bridges", "path": str(pages / "bridges")}


@pytest.mark.parametrize("question", ["", "\0", "\ud800", "x" * 1_000_000])
def test_bad_questions_are_refused_through_it_as_clearly_as_alone(
    server: RunningServer, rungs: CommandLine, question: str
) -> None:
    assert "question" in rungs.refused("ask", question)


def test_odd_text_passes_through_it(server: RunningServer, rungs: CommandLine, tmp_path: Path) -> None:
    for question in ("a\0b \ud800\udfff?", "כיצד מדליקים מנורה?", "🪔"):
        assert rungs.json("ask", question)["outcome"] == "abstained"
    missing = str(tmp_path / "not-\udcff-utf8.md")
    assert rungs.json("ingest", missing, status=1)["failed"]


# failing


def test_an_expected_error_is_the_last_step_and_one_clear_line(
    server: RunningServer, rungs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        yield {"progress": {"done": 1, "total": 2, "label": "half"}}
        raise StorageFull("no room left")

    monkeypatch.setitem(commands.COMMANDS, "reindex", full)  # type: ignore[arg-type]
    assert list(call_server(server, "reindex", {}))[-1] == {"error": "no room left"}
    assert rungs.refused("reindex") == "rungs: no room left\n"


def test_a_fault_of_ours_is_logged_and_tells_no_secrets(
    server: RunningServer, rungs: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        yield from ()
        raise RuntimeError("the password is swordfish")

    monkeypatch.setitem(commands.COMMANDS, "reindex", broken)  # type: ignore[arg-type]
    assert "swordfish" not in rungs.refused("reindex")
    assert "swordfish" in caplog.text


def test_a_command_cut_short_is_a_failure(
    server: RunningServer, rungs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanishing(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        yield {"progress": {"done": 1, "total": 2, "label": "half"}}

    monkeypatch.setitem(commands.COMMANDS, "reindex", vanishing)  # type: ignore[arg-type]
    assert "stopped before it was done" in rungs.refused("reindex")


def test_a_server_that_does_not_answer_is_named() -> None:
    nobody = RunningServer("http://127.0.0.1:9", "token", 4711)
    with pytest.raises(AssistantError, match=r"4711.*does not answer"):
        list(call_server(nobody, "sources-list", {}))


def test_a_wrong_token_is_a_refusal(server: RunningServer) -> None:
    with pytest.raises(AssistantError, match="refused"):
        list(call_server(replace(server, token="old"), "sources-list", {}))


# leaving


def test_leaving_stops_a_command_that_waits_between_steps(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_done, closed = [0], threading.Event()

    def endless(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        try:
            while True:
                steps_done[0] += 1
                time.sleep(0.02)
                yield {"progress": {"done": steps_done[0], "total": 0, "label": ""}}
        finally:
            closed.set()

    monkeypatch.setitem(commands.COMMANDS, "reindex", endless)  # type: ignore[arg-type]
    steps = call_server(server, "reindex", {})
    next(steps)
    steps.close()
    assert closed.wait(5)
    done = steps_done[0]
    time.sleep(0.1)
    assert steps_done[0] == done


def test_leaving_stops_a_command_in_the_middle_of_a_long_step(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, noticed, closed = threading.Event(), threading.Event(), threading.Event()

    def slow(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        try:
            yield {"climb": {}}
            inside.set()
            if cancel.wait(30):
                noticed.set()
            yield {"result": {}}
        finally:
            closed.set()

    monkeypatch.setitem(commands.COMMANDS, "ask", slow)  # type: ignore[arg-type]
    steps = call_server(server, "ask", {})
    next(steps)
    assert inside.wait(5)
    started = time.monotonic()
    steps.close()
    assert noticed.wait(5) and closed.wait(5) and time.monotonic() - started < 2


def test_leaving_stops_the_model_and_closes_the_trace(home: Path) -> None:
    with owned(home):
        built = build(Settings(home=home))
        model = ScriptedModel(["word " * 500], seconds_per_token=0.05)
        slow = wire(built.settings, built.engine, built.store, built.traces, model, built.calibration)
        try:
            with served(slow, home) as server:
                steps = call_server(server, "ask", {"text": "Tell me a story.", "level": "prompting"})
                assert next(steps)["climb"]["state"] == "trying"
                assert [row.status for row in built.traces.find()] == ["started"]
                started = time.monotonic()
                steps.close()
                assert eventually(lambda: built.traces.find()[0].status == "interrupted")
                assert time.monotonic() - started < 3, "the model went on talking to nobody"
        finally:
            built.close()


def test_two_commands_run_side_by_side(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)

    def meets(_: Rungs, arguments: commands.Arguments, cancel: threading.Event) -> commands.Steps:
        meeting.wait(10)
        yield {"result": {"passages": 0, "seconds": 0}}

    monkeypatch.setitem(commands.COMMANDS, "reindex", meets)  # type: ignore[arg-type]
    found: list[Any] = []
    callers = [threading.Thread(target=lambda: found.extend(call_server(server, "reindex", {}))) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 2 and all("result" in step for step in found)
