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


def test_level_lora_says_that_there_is_no_adapter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.ConflictError, match="none is promoted"):
        client.chat.completions.create(model="rungs/lora", messages=LAMP)


def test_what_changes_nothing_here_is_accepted(client: openai.OpenAI) -> None:
    """Tools, samplers and formats of other models; what Open WebUI sends with every question."""
    tool: Any = {"type": "function", "function": {"name": "lamp", "parameters": {"type": "object", "properties": {}}}}
    stream = client.chat.completions.create(
        model="rungs", messages=LAMP, stream=True, tools=[tool], tool_choice="auto", temperature=0.7, top_p=0.9,
        max_tokens=512, seed=3, stop=["END"], response_format={"type": "text"},
        extra_body={
            "chat_id": "c1", "id": "m1", "session_id": "s1", "params": {}, "tool_servers": [], "features": {},
            "variables": {"{{USER_NAME}}": "Ann"}, "model_item": {"id": "rungs"}, "background_tasks": {},
        },
    )  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "red lever" in text
    null: Any = {"stream": None, "n": None, "user": None, "stream_options": None, "stop": None, "tools": None}
    done = client.chat.completions.create(model="rungs", messages=LAMP, extra_body=null)
    assert done.choices[0].finish_reason == "stop"


def test_a_title_can_be_asked_for_as_open_webui_does(client: openai.OpenAI) -> None:
    prompt = (
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
        'JSON format: { "title": "your concise title here" }\n<chat_history>\nUSER: How is a lamp switched on?\n'
        "ASSISTANT: With the red lever.\n</chat_history>"
    )
    done = client.chat.completions.create(
        model="rungs", messages=[{"role": "user", "content": prompt}], stream=False,
        extra_body={"metadata": {"task": "title_generation", "chat_id": "c1"}, "max_completion_tokens": 1000},
    )  # fmt: skip
    assert done.choices[0].message.content and done.model_extra["rungs"]["outcome"]  # type: ignore[index]


def test_a_tools_message_and_parts_without_text_are_passed_over(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "x"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "text", "text": "How is a lamp switched on?"},
            ],
        },
    ]
    assert "red lever" in str(client.chat.completions.create(model="rungs", messages=messages).choices[0].message)


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
