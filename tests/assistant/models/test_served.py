"""ServedModel against a server that misbehaves in every way we know: the right error, in time, nothing left over."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from assistant.errors import AssistantError, BadSettings, ModelTimeout, ModelUnavailable, PromptTooLong
from assistant.models.exchange import Deadlines
from assistant.models.served import ServedModel, make_served
from assistant.settings import Settings
from assistant.types import Completed, Message, Token
from tests.assistant.models.fault_server import KEY, STATUSES, STREAMS, Server, serving

ASKED = (Message("system", "Be brief."), Message("user", "Say hello."))
QUICK = Deadlines(connect=1.5, first=2.0, between=1.0, total=3.0)
SLACK_SECONDS = 4.0
"""A busy machine is late by this much at most; the deadlines themselves are the model's."""
REFUSALS: dict[str, tuple[type[AssistantError], str]] = {
    "401": (ModelUnavailable, "model_key"),
    "404": (ModelUnavailable, "model_url"),
    "429": (ModelUnavailable, "429"),
    "500": (ModelUnavailable, "500"),
    "bad request": (ModelUnavailable, "no such thing"),
    "too long": (PromptTooLong, "Shorten"),
    "hang before headers": (ModelTimeout, "first_byte_seconds"),
    "hang before the first chunk": (ModelTimeout, "first_byte_seconds"),
    "hang mid-stream": (ModelTimeout, "fell silent"),
    "endlessly empty": (ModelTimeout, "first_byte_seconds"),
    "malformed JSON": (ModelUnavailable, "cannot be read"),
    "not chat JSON": (ModelUnavailable, "cannot be read"),
    "not an object": (ModelUnavailable, "cannot be read"),
    "error in stream": (ModelUnavailable, "broke"),
    "cut mid-stream": (ModelUnavailable, "http"),
    "short body": (ModelUnavailable, "http"),
    "flood": (ModelUnavailable, "longer than"),
    "no finish": (ModelUnavailable, "finish_reason"),
    "web page": (ModelUnavailable, "OpenAI"),
    "empty": (ModelUnavailable, "OpenAI"),
    "done alone": (ModelUnavailable, "OpenAI"),
}
ANSWERS = {"good", "no usage", "no logprobs", "no logprobs allowed", "busy once", "hang after finish", "endless"}


@pytest.fixture(scope="module", autouse=True)
def libraries_are_loaded() -> None:
    with serving() as server:
        model = ServedModel(server.url, "m", deadlines=Deadlines())
        list(model.stream(ASKED, max_tokens=16))
        model.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= before


def model_at(server: Server, deadlines: Deadlines = QUICK, key: str = KEY) -> ServedModel:
    return ServedModel(server.url, "m", key=key, deadlines=deadlines)


def text_of(items: list[Token | Completed]) -> str:
    return "".join(item.text for item in items if isinstance(item, Token))


def test_every_fault_of_the_server_is_expected_one_way_or_the_other() -> None:
    assert set(REFUSALS) | ANSWERS == {*STATUSES, *STREAMS, "good"}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # about what this server sends, on purpose
@pytest.mark.parametrize("fault", sorted(REFUSALS))
def test_a_fault_ends_in_time_with_an_error_that_says_what_to_do(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, words = REFUSALS[fault]
    caplog.set_level(logging.DEBUG)
    with serving(fault) as server:
        model = model_at(server)
        list_of_models_known = model.adapters
        started = time.monotonic()
        try:
            with pytest.raises(kind, match=words) as caught:
                list(model.stream(ASKED, max_tokens=16))
        finally:
            model.close()
        seconds = time.monotonic() - started
    assert list_of_models_known == ()
    assert seconds < QUICK.total + SLACK_SECONDS
    assert type(caught.value) is kind
    assert server.url in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_a_good_answer_comes_with_logprobs_usage_and_its_end() -> None:
    with serving() as server:
        model = model_at(server)
        items = list(model.stream(ASKED, max_tokens=16))
        model.close()
    assert items == [Token("Hel", -0.25, -1.5), Token("lo", -0.25, -1.5), Completed("stop", 11, 2, 5)]
    body = server.bodies[0]
    assert body["temperature"] == 0
    assert body["max_tokens"] == 16
    assert "max_completion_tokens" not in body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_without_a_key_none_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-someone-else")
    monkeypatch.setenv("LANGSMITH_API_KEY", "ls-of-someone-else")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving() as server:
        model = model_at(server, key="")
        list(model.stream(ASKED, max_tokens=16))
        model.close()
    assert set(server.keys) == {"Bearer none"}


def test_tracing_is_off_even_where_the_environment_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("404") as collector, serving() as server:
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        monkeypatch.setenv("LANGSMITH_ENDPOINT", collector.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "x")
        model = model_at(server)
        list(model.stream(ASKED, max_tokens=16))
        model.close()
        assert collector.keys == []


@pytest.mark.parametrize("fault", ["no usage", "hang after finish"])
def test_missing_usage_is_counted_here(fault: str) -> None:
    with serving(fault) as server:
        model = model_at(server)
        *tokens, last = model.stream(ASKED, max_tokens=16)
        model.close()
    assert isinstance(last, Completed)
    assert last.finish == "stop"
    assert last.tokens_out == len(tokens)
    assert last.tokens_in >= 10


def test_missing_logprobs_are_none() -> None:
    with serving("no logprobs") as server:
        model = model_at(server)
        items = list(model.stream(ASKED, max_tokens=16))
        model.close()
    assert items[:2] == [Token("Hel"), Token("lo")]


def test_a_server_that_refuses_logprobs_is_asked_without_them_from_then_on() -> None:
    with serving("no logprobs allowed") as server:
        model = model_at(server)
        assert text_of(list(model.stream(ASKED, max_tokens=16))) == "Hello"
        assert text_of(list(model.stream(ASKED, max_tokens=16))) == "Hello"
        model.close()
    assert [bool(body.get("logprobs")) for body in server.bodies] == [True, False, False]


def test_a_bad_request_for_another_reason_does_not_cost_the_logprobs_of_later_answers() -> None:
    with serving("bad request") as server:
        model = model_at(server)
        with pytest.raises(ModelUnavailable):
            list(model.stream(ASKED, max_tokens=16))
        server.fault = "good"
        assert next(iter(model.stream(ASKED, max_tokens=16))) == Token("Hel", -0.25, -1.5)
        model.close()


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    with serving("busy once") as server:
        model = model_at(server)
        assert text_of(list(model.stream(ASKED, max_tokens=16))) == "Hello"
        model.close()
    assert len(server.bodies) == 2


def test_a_wait_beyond_the_deadline_is_not_waited_for() -> None:
    with serving("429") as server:
        model = model_at(server, Deadlines(connect=1, first=60, between=30, total=180))
        started = time.monotonic()
        with pytest.raises(ModelUnavailable, match="429"):
            list(model.stream(ASKED, max_tokens=16))
        assert time.monotonic() - started < SLACK_SECONDS
        model.close()
    assert len(server.bodies) == 1


def test_an_endless_stream_ends_at_max_tokens() -> None:
    with serving("endless") as server:
        model = model_at(server)
        items = list(model.stream(ASKED, max_tokens=16))
        assert server.left.wait(5)
        model.close()
    assert items == [Token("on and ", -0.25, -1.5)] * 16 + [items[-1]]
    assert isinstance(items[-1], Completed)
    assert (items[-1].finish, items[-1].tokens_out) == ("length", 16)


def test_an_endless_stream_ends_at_the_total_deadline() -> None:
    with serving("endless") as server:
        model = model_at(server)
        started = time.monotonic()
        with pytest.raises(ModelTimeout, match="total_seconds"):
            list(model.stream(ASKED, max_tokens=3000))
        assert QUICK.total <= time.monotonic() - started < QUICK.total + SLACK_SECONDS
        assert server.left.wait(5)
        model.close()


def test_cancelling_ends_the_stream_within_one_token_and_stops_the_server() -> None:
    with serving("endless") as server:
        model = model_at(server)
        cancel = threading.Event()
        items = []
        for item in model.stream(ASKED, max_tokens=3000, cancel=cancel):
            items.append(item)
            if len(items) == 3:
                cancel.set()
        assert server.left.wait(5)
        sent = server.sent
        time.sleep(0.1)
        assert server.sent == sent
        model.close()
    assert len(items) == 4
    assert isinstance(items[3], Completed)
    assert (items[3].finish, items[3].tokens_out) == ("cancelled", 3)


def test_cancelling_works_while_nothing_comes() -> None:
    with serving("hang before headers") as server:
        model = model_at(server, Deadlines(first=60))
        cancel = threading.Event()
        threading.Timer(0.2, cancel.set).start()
        started = time.monotonic()
        items = list(model.stream(ASKED, max_tokens=16, cancel=cancel))
        assert time.monotonic() - started < SLACK_SECONDS
        model.close()
    assert [item.finish for item in items if isinstance(item, Completed)] == ["cancelled"]
    assert len(items) == 1


def test_closing_the_generator_stops_the_server() -> None:
    with serving("endless") as server:
        model = model_at(server)
        stream = model.stream(ASKED, max_tokens=3000)
        next(stream)
        stream.close()
        assert server.left.wait(5)
        model.close()


def test_closing_the_model_ends_what_runs_and_refuses_what_comes() -> None:
    with serving("hang mid-stream") as server:
        model = model_at(server, Deadlines(between=60))
        stream = model.stream(ASKED, max_tokens=16)
        assert next(stream) == Token("Hel", -0.25, -1.5)
        model.close()
        with pytest.raises(ModelUnavailable, match="closed"):
            next(stream)
        with pytest.raises(ModelUnavailable, match="closed"):
            list(model.stream(ASKED, max_tokens=16))
        model.close()


def test_streams_side_by_side_do_not_mix() -> None:
    with serving() as server:
        model = model_at(server, Deadlines(total=20))
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(text_of(list(model.stream(ASKED, max_tokens=16)))))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        model.close()
    assert texts == ["Hello"] * 12


def test_nobody_listening_is_said_with_the_url() -> None:
    with serving() as server:
        url = server.url
    model = ServedModel(url, "m", key=KEY, deadlines=QUICK)
    with pytest.raises(ModelUnavailable, match="Start the server") as caught:
        list(model.stream(ASKED, max_tokens=16))
    assert url in str(caught.value)
    assert model.adapters == ()
    model.close()


def test_a_host_that_does_not_answer_is_given_up_at_the_deadline_to_connect() -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the queue is full now: further connections hang
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        model = ServedModel(f"http://127.0.0.1:{full.getsockname()[1]}/v1", "m", deadlines=Deadlines(connect=0.5))
        started = time.monotonic()
        with pytest.raises(ModelTimeout, match="connect_seconds"):
            list(model.stream(ASKED, max_tokens=16))
        assert time.monotonic() - started < 2 * 0.5 + SLACK_SECONDS
        model.close()


def test_a_prompt_that_cannot_fit_is_not_sent() -> None:
    with serving() as server:
        model = model_at(server)
        with pytest.raises(PromptTooLong):
            list(model.stream((*ASKED, Message("user", "word " * 5000)), max_tokens=16))
        model.close()
    assert server.bodies == []


def test_hostile_text_arrives_as_valid_json() -> None:
    with serving() as server:
        model = model_at(server)
        list(model.stream((ASKED[0], Message("user", "a\x00b \ud800 ‮")), max_tokens=16))
        model.close()
    assert server.bodies[0]["messages"][1]["content"] == "ab ? ‮"


def test_an_adapter_of_vllm_is_asked_for_by_its_name() -> None:
    with serving() as server:
        server.listed = [{"id": "m"}, {"id": "tuned", "parent": "m"}, {"id": "other"}]
        model = model_at(server)
        assert model.adapters == ("tuned",)
        list(model.stream(ASKED, max_tokens=16, adapter="tuned"))
        list(model.stream(ASKED, max_tokens=16))
        with pytest.raises(ModelUnavailable, match="tuned"):
            list(model.stream(ASKED, max_tokens=16, adapter="other"))
        model.close()
    assert [body["model"] for body in server.bodies] == ["tuned", "m"]


def test_every_request_to_llama_cpp_states_the_scale_of_every_adapter() -> None:
    with serving() as server:
        server.listed = [{"id": "file.gguf", "owned_by": "llamacpp"}]
        server.loras = [{"id": 0, "path": "a/first.gguf", "scale": 1.0}, {"id": 1, "path": "b/second.gguf"}]
        model = model_at(server)
        assert model.adapters == ("first", "second")
        list(model.stream(ASKED, max_tokens=16))
        list(model.stream(ASKED, max_tokens=16, adapter="second"))
        model.close()
    off, second = (body["lora"] for body in server.bodies)
    assert off == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]
    assert second == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]


def test_without_a_model_name_the_first_listed_is_taken() -> None:
    with serving() as server:
        model = make_served(Settings(model="served", model_url=server.url + "/", demo=False))
        assert model.name == "m"
        assert model.fingerprint == f"served:{server.url}:m"
        model.close()
    with pytest.raises(ModelUnavailable):
        make_served(Settings(model="served", model_url=server.url, connect_seconds=0.5))


@pytest.mark.parametrize("url", ["", "ftp://x/v1", "localhost:8000", "http://u:p@host/v1", "http://host/v1?key=1"])
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadSettings, match="model_"):
        make_served(Settings(model="served", model_name="m", model_url=url))
