"""The test double does what tests rely on."""

from __future__ import annotations

import threading
import time

import pytest

from assistant.errors import ModelError, ModelTimeout, ModelUnavailable, PromptTooLong
from assistant.models.scripted import ScriptedModel
from assistant.types import Completed, Message, Token

HELLO = [Message("system", "Be kind."), Message("user", "Hello there")]


def test_replies_come_in_order_and_the_last_is_repeated() -> None:
    model = ScriptedModel(["one two", "three"])
    texts = ["".join(t.text for t in model.stream(HELLO, max_tokens=9) if isinstance(t, Token)) for _ in range(3)]
    assert texts == ["one two", "three", "three"]


def test_a_function_of_the_messages_can_answer_and_set_every_number() -> None:
    model = ScriptedModel(lambda messages: [Token(messages[-1].content, -3.0, -4.0)])
    assert list(model.stream(HELLO, max_tokens=9)) == [Token("Hello there", -3.0, -4.0), Completed("stop", 4, 1)]


def test_without_a_script_it_echoes_so_that_surfaces_can_be_tried() -> None:
    assert "Hello there" in "".join(t.text for t in ScriptedModel().stream(HELLO, max_tokens=9) if isinstance(t, Token))


def test_it_stops_within_a_token_when_cancelled_and_counts_what_it_said() -> None:
    model, cancel = ScriptedModel(["a b c d e f"], seconds_per_token=5.0), threading.Event()
    threading.Timer(0.1, cancel.set).start()
    start = time.monotonic()
    assert list(model.stream(HELLO, max_tokens=9, cancel=cancel)) == [Completed("cancelled", 4, 0)]
    assert time.monotonic() - start < 2


def test_it_is_cut_at_max_tokens() -> None:
    assert list(ScriptedModel(["a b c"]).stream(HELLO, max_tokens=2))[-1] == Completed("length", 4, 2)


def test_it_refuses_what_a_real_model_refuses() -> None:
    model = ScriptedModel([ModelTimeout("late")], adapters=("live",), context_tokens=20)
    with pytest.raises(ModelTimeout):
        list(model.stream(HELLO, max_tokens=2, adapter="live"))
    with pytest.raises(ModelError, match="other"):
        list(model.stream(HELLO, max_tokens=2, adapter="other"))
    with pytest.raises(PromptTooLong):
        list(ScriptedModel(["a"], context_tokens=5).stream(HELLO, max_tokens=2))
    model.close()
    with pytest.raises(ModelUnavailable):
        list(model.stream(HELLO, max_tokens=2))


def test_it_records_what_it_was_asked() -> None:
    model = ScriptedModel(["a"], adapters=("live",))
    list(model.stream(HELLO, max_tokens=2, adapter="live", conversation="c"))
    assert [(a.messages, a.max_tokens, a.adapter, a.conversation) for a in model.asked] == [
        (tuple(HELLO), 2, "live", "c")
    ]
