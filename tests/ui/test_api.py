"""The OpenAI-compatible door, through the real `openai` client and a real listener, on the scripted model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.ui.browsing import Served, scripted_site

LAMP: list[Any] = [{"role": "user", "content": "How is a lamp switched on?"}]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("api")) as site:
        yield site


@pytest.fixture
def client(site: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["rungs", "rungs/prompting", "rungs/rag", "rungs/lora"]
    assert client.models.retrieve("rungs/rag").id == "rungs/rag"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("gpt-9")


def test_an_answer_comes_whole_with_its_level_and_sources(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="rungs", messages=LAMP)
    assert "red lever" in str(done.choices[0].message.content)
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None and done.usage.total_tokens == 0, "quoting costs no tokens"
    told = done.model_extra["rungs"]  # type: ignore[index]
    assert (told["level"], told["outcome"]) == ("rag", "answered")
    assert told["citations"][0]["document"] == "lamps.md"
    assert len(told["trace_id"]) == 32


def test_an_answer_streams_with_usage_at_its_end(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="rungs", messages=LAMP, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = client.chat.completions.create(model="rungs", messages=LAMP).choices[0].message.content
    assert text == whole
    ends = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert [chunk.choices[0].finish_reason for chunk in ends] == ["stop"]
    assert ends[0].model_extra["rungs"]["level"] == "rag"  # type: ignore[index]
    assert chunks[-1].usage is not None and chunks[-1].choices == []


def test_one_level_can_be_asked_alone_and_earlier_turns_count(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="rungs/prompting", messages=LAMP)
    assert done.model_extra["rungs"]["level"] == "prompting"  # type: ignore[index]
    parts: list[Any] = [
        {"role": "system", "content": "Answer like a pirate."},
        {"role": "user", "content": "How is a lamp switched on?"},
        {"role": "assistant", "content": "With the red lever."},
        {"role": "user", "content": [{"type": "text", "text": "And who sells its bulbs?"}]},
    ]
    done = client.chat.completions.create(model="rungs", messages=parts, user="ann")
    assert "Ghent" in str(done.choices[0].message.content)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, 400, "last message"),
        ({"messages": LAMP, "model": "gpt-9"}, 404, "no model"),
        ({"messages": LAMP, "n": 3}, 400, "n"),
        ({"messages": [{"role": "user", "content": "   "}]}, 400, "empty"),
        ({"messages": [{"role": "user", "content": "x" * 9000}]}, 400, "characters"),
        ({"messages": [{"role": "user", "content": "x" * 300_000}]}, 400, "characters"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, 400, "role"),
        ([], 400, "body"),
        ("no JSON", 400, "body"),
    ],
)
def test_bad_requests_are_refused_in_openais_words(site: Served, body: Any, status: int, told: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = httpx.post(
        f"{site.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}, timeout=60
    )
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert told in error["message"]


def test_a_huge_body_is_not_read_to_its_end(site: Served) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 8_000_000}]})
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{site.url}/v1/chat/completions", content=body, timeout=60).raise_for_status()
    assert httpx.get(f"{site.url}/healthz").status_code == 200


def test_a_page_of_another_origin_gets_nothing(site: Served) -> None:
    answer = httpx.post(
        f"{site.url}/v1/chat/completions", json={"messages": LAMP}, headers={"origin": "https://evil.test"}
    )
    assert answer.status_code == 421


def test_a_client_that_leaves_gives_its_place_back(site: Served) -> None:
    def leave() -> None:
        with (
            httpx.Client(timeout=60) as client,
            client.stream("POST", f"{site.url}/v1/chat/completions", json={"messages": LAMP, "stream": True}),
        ):
            pass

    for _ in range(2):
        threads = [threading.Thread(target=leave) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    answer = httpx.post(f"{site.url}/v1/chat/completions", json={"messages": LAMP}, timeout=60)
    assert answer.status_code == 200
