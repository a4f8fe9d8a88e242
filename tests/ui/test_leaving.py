"""A server that is stopped while people wait: answers are finished or their askers told, nobody new is let in."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from assistant.home import owned
from knowledge.database import open_engine
from tests.ui.processes import Served, process
from ui.widget.sites import Sites

QUESTION = "Please say all of these words again one after the other, slowly, until everybody has heard them well"
"""The scripted model says some twenty tokens to it."""
ANSWERED = "You said: Please say"


TRUSTED = {"signals": ["logprob_mean"], "mean": [0.0], "scale": [1.0], "weights": [0.0], "bias": 2.5, "threshold": 0.4}
CALIBRATION = {
    "levels": {"prompting": {**TRUSTED, "belongs_to": {}, "facts": {}}},
    "needs_no_document": None, "max_wrong": 0.2, "rag_answers_by": "quoting", "made_from": "this test",
}  # fmt: skip
"""Has the cascade take whatever the model says."""


def client() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=60)


def v1(served: Served, stream: bool, question: str = QUESTION) -> tuple[int, str]:
    body = {"model": "rungs/prompting", "stream": stream, "messages": [{"role": "user", "content": question}]}
    with client() as web:
        told = web.post(f"{served.url}/v1/chat/completions", json=body)
    return told.status_code, told.text


def control(served: Served) -> tuple[int, str]:
    headers = {"authorization": f"Bearer {served.token}"}
    with client() as web:
        body = {"text": QUESTION, "level": "prompting"}
        told = web.post(f"{served.url}/control/ask", json=body, headers=headers)
    return told.status_code, told.text


def widget(served: Served, key: str) -> tuple[int, str]:
    with client() as web:
        begun = web.post(f"{served.url}/widget/api/session", json={"site": key}, headers={"origin": served.url}).json()
        bearer = {"authorization": f"Bearer {begun['token']}", "origin": served.url}
        told = web.post(f"{served.url}/widget/api/ask", json={"text": QUESTION}, headers=bearer)
    return told.status_code, told.text


def page(served: Served) -> tuple[int, str]:
    """What the chat page's script does: the question, then the answer, over Gradio's queue."""
    session = "a-page-of-a-test"
    with client() as web:
        known = web.get(f"{served.url}/config").json()["dependencies"]
        names = {told["api_name"]: told for told in known}
        for name, given in (("typed", [QUESTION]), ("ask", [None, "a visitor", None, None])):
            body = {"data": given, "fn_index": names[name]["id"], "session_hash": session, "event_data": None}
            web.post(f"{served.url}/gradio_api/queue/join", json=body).raise_for_status()
            told = web.get(f"{served.url}/gradio_api/queue/data", params={"session_hash": session})
    return told.status_code, told.text


def listen(served: Served) -> float:
    """How long a page that listens for changes is kept."""
    began = time.monotonic()
    with client() as web, web.stream("GET", f"{served.url}/live/desk") as lines:
        for _ in lines.iter_lines():
            pass
    return time.monotonic() - began


def asked(served: Served, key: str) -> list[Callable[[], tuple[int, str]]]:
    return [
        lambda: v1(served, True),
        lambda: v1(served, False),
        lambda: widget(served, key),
        lambda: control(served),
        lambda: page(served),
    ]


@pytest.fixture
def key(tmp_path: Path) -> str:
    """Of the site that the widget is on; made before the server starts."""
    home = tmp_path / "home"
    with owned(home):
        engine = open_engine(f"sqlite:///{home / 'rungs.db'}")
        (home / "calibration.json").write_text(json.dumps(CALIBRATION))
        made = Sites(engine).add("shop", ["https://shop.example"], "ann")
        engine.dispose()
    return made.key


def states(folder: Path) -> dict[str, int]:
    """How many questions on disk are in which state."""
    with closing(sqlite3.connect(f"file:{folder}/home/rungs.db?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT status, count(*) FROM questions GROUP BY status"))


def begun(served: Served, wanted: int) -> None:
    """Wait until so many questions are under way."""
    until = time.monotonic() + 60
    with client() as web:
        while f"rungs_answers_under_way {wanted}.0" not in web.get(f"{served.url}/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_stop_lets_every_answer_under_way_be_finished_and_lets_no_other_in(tmp_path: Path, key: str) -> None:
    with process(tmp_path, seconds_per_token=0.2, RUNGS_SLOTS="6") as served, ThreadPoolExecutor(8) as people:
        listening = people.submit(listen, served)
        waiting = [people.submit(ask) for ask in asked(served, key)]
        begun(served, len(waiting))
        served.process.send_signal(signal.SIGTERM)
        with client() as web:
            until_drained(web, served)
            refused = web.post(
                f"{served.url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "?"}]}
            )
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5"), refused.text
            assert refused.json()["error"]["code"] == "stopping"
            assert web.get(f"{served.url}/healthz").status_code == 200, "it is alive"
        assert listening.result() < 30, "a page that listens is let go at once"
        check_answered(waiting)
        assert served.process.wait(30) == 0
        assert "Traceback" not in served.said and "ASGI" not in served.said
    assert states(tmp_path) == {"finished": 5}


def test_answers_that_take_longer_than_the_grace_are_given_up_and_their_askers_told(tmp_path: Path, key: str) -> None:
    with process(tmp_path, seconds_per_token=2.0, RUNGS_SLOTS="6") as served, ThreadPoolExecutor(8) as people:
        waiting = [people.submit(ask) for ask in asked(served, key)]
        begun(served, len(waiting))
        asked_to_stop = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        for answer in waiting:
            status, text = answer.result()
            assert "stopped before the answer was complete" in text, text
            assert status in (200, 503)
        assert served.process.wait(30) == 0
        assert 10 <= time.monotonic() - asked_to_stop < 20
        assert "Traceback" not in served.said
    assert states(tmp_path) == {"interrupted": 5}


def test_a_second_signal_waits_for_nobody(tmp_path: Path, key: str) -> None:
    with process(tmp_path, seconds_per_token=2.0) as served, ThreadPoolExecutor(2) as people:
        waiting = people.submit(v1, served, True)
        begun(served, 1)
        asked_to_stop = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        assert "stopped before the answer was complete" in waiting.result()[1]
        assert served.process.wait(30) == 0 and time.monotonic() - asked_to_stop < 8
        assert "Traceback" not in served.said


def test_after_a_crash_open_questions_are_closed_as_interrupted(tmp_path: Path, key: str) -> None:
    with process(tmp_path, seconds_per_token=2.0) as served, ThreadPoolExecutor(2) as people:
        waiting = people.submit(v1, served, True)
        begun(served, 1)
        while states(tmp_path) != {"started": 1}:
            time.sleep(0.05)
        served.process.kill()
        served.process.wait(30)
        with pytest.raises(httpx.HTTPError):
            waiting.result()
    assert states(tmp_path) == {"started": 1}
    with process(tmp_path) as served:
        assert v1(served, False)[0] == 200
    assert states(tmp_path) == {"interrupted": 1, "finished": 1}


def until_drained(web: httpx.Client, served: Served) -> None:
    """Wait until it says that it is not ready, and why."""
    until = time.monotonic() + 10
    while (told := web.get(f"{served.url}/readyz")).status_code == 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (told.status_code, told.json()["problems"]) == (503, {"server": "it is being stopped"})


def check_answered(waiting: list[Future[tuple[int, str]]]) -> None:
    """Each got the whole of what the model said."""
    for answer in waiting[1:]:
        status, text = answer.result()
        assert status == 200 and ANSWERED in text, text
    status, streamed = waiting[0].result()
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    words = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert status == 200 and words.startswith(ANSWERED) and words.endswith(" well"), streamed
    assert streamed.rstrip().endswith("data: [DONE]")
    assert json.loads(waiting[1].result()[1])["choices"][0]["finish_reason"] == "stop"
    assert "event: answer" in waiting[2].result()[1]
    assert json.loads(waiting[3].result()[1].strip().splitlines()[-1])["result"]["outcome"] == "answered"
