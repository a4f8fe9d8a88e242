"""Both doors to LangChain, with LangChain's own chat models and runnables on the other side."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate

from assistant.errors import ModelError, ModelUnavailable, PromptTooLong
from assistant.models.chunks import tokens_of
from assistant.models.estimate import clean, estimate_tokens
from assistant.models.langchain import DEFAULT_SYSTEM, LangChainModel, as_langchain, until_stop
from assistant.types import ChatModel, Completed, Message, Token

ASKED = (Message("system", "Be brief."), Message("user", "Say hello."))


class Telling(GenericFakeChatModel):
    """LangChain's fake, whose stream also carries log-probabilities, usage and an end."""

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        for text in ("Hel", "lo"):
            content = [{"token": text, "logprob": -0.5, "top_logprobs": [{"logprob": -0.5}, {"logprob": -2.0}]}]
            metadata = {"logprobs": {"content": content}}
            yield ChatGenerationChunk(message=AIMessageChunk(content=text, response_metadata=metadata))
        usage: Any = {
            "input_tokens": 9,
            "output_tokens": 2,
            "total_tokens": 11,
            "input_token_details": {"cache_read": 4},
        }
        last = AIMessageChunk(content="", response_metadata={"finish_reason": "length"}, usage_metadata=usage)
        yield ChatGenerationChunk(message=last)


class Failing(GenericFakeChatModel):
    """Breaks off after its first word."""

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Hel"))
        raise KeyError("their own affair")


class Ours:
    """A `ChatModel` that says what it is given, and remembers what it was asked."""

    name = "ours"
    fingerprint = "f"
    context_tokens = 100
    adapters: tuple[str, ...] = ("tuned",)

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[tuple[Sequence[Message], dict[str, Any]]] = []
        self.closed = False

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Token | Completed]:
        self.asked.append((messages, options))
        try:
            for number, word in enumerate(self.words):
                yield Token(word, -0.1 * (number + 1), -3.0)
            yield Completed("stop", 7, len(self.words), 3)
        finally:
            self.closed = True

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None: ...


def fake(*replies: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(reply) for reply in replies]))


def test_a_langchain_model_is_a_chat_model() -> None:
    model: ChatModel = LangChainModel(fake("Hello there, you."), "theirs")
    *tokens, last = model.stream(ASKED, max_tokens=20)
    assert "".join(token.text for token in tokens if isinstance(token, Token)) == "Hello there, you."
    assert isinstance(last, Completed)
    assert (last.finish, last.tokens_out) == ("stop", len(tokens))
    assert model.adapters == ()
    assert "theirs" in model.fingerprint


def test_its_logprobs_usage_and_end_come_through() -> None:
    items = list(LangChainModel(Telling(messages=iter([])), "theirs").stream(ASKED, max_tokens=20))
    assert items == [Token("Hel", -0.5, -2.0), Token("lo", -0.5, -2.0), Completed("length", 9, 2, 4)]


def test_it_is_cut_at_max_tokens_and_by_cancel() -> None:
    words = " ".join("word" for _ in range(50))
    items = list(LangChainModel(fake(words), "theirs").stream(ASKED, max_tokens=5))
    assert items[-1] == Completed("length", items[-1].tokens_in, 5)  # type: ignore[union-attr]
    cancel = threading.Event()
    stream = LangChainModel(fake(words), "theirs").stream(ASKED, max_tokens=50, cancel=cancel)
    next(stream)
    cancel.set()
    rest = list(stream)
    assert [type(item) for item in rest] == [Completed]
    assert rest[0].finish == "cancelled"  # type: ignore[union-attr]


def test_a_stream_may_be_read_by_several_threads_in_turn() -> None:
    stream = LangChainModel(fake("one two"), "theirs").stream(ASKED, max_tokens=50)
    found = [next(stream)]
    thread = threading.Thread(target=lambda: found.extend(stream))
    thread.start()
    thread.join()
    assert [item.text for item in found[:-1] if isinstance(item, Token)] == ["one", " ", "two"]
    assert isinstance(found[-1], Completed)


def test_its_failure_becomes_ours() -> None:
    model = LangChainModel(Failing(messages=iter([])), "theirs")
    with pytest.raises(ModelUnavailable, match="theirs failed: KeyError"):
        list(model.stream(ASKED, max_tokens=20))
    with pytest.raises(ModelError, match="no adapter"):
        list(model.stream(ASKED, max_tokens=20, adapter="x"))
    with pytest.raises(PromptTooLong):
        list(model.stream(ASKED, max_tokens=5000))
    model.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        list(model.stream(ASKED, max_tokens=20))


def test_the_callers_callbacks_do_not_reach_the_provider() -> None:
    class Watching(BaseCallbackHandler):
        seen = 0

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.seen += 1

    from langchain_core.runnables import RunnableLambda

    watching = Watching()
    model = LangChainModel(fake("Hello you"), "theirs")
    RunnableLambda(lambda _: len(list(model.stream(ASKED, max_tokens=9)))).invoke(1, {"callbacks": [watching]})
    assert watching.seen == 0


def test_our_model_runs_in_a_langchain_chain() -> None:
    ours = Ours("Hel", "lo")
    prompt = ChatPromptTemplate.from_messages([("system", "Be {how}."), ("human", "{what}")])
    counting = UsageMetadataCallbackHandler()
    reply = (prompt | as_langchain(ours)).invoke({"how": "brief", "what": "Hi"}, {"callbacks": [counting]})
    assert reply.text == "Hello"
    assert [entry["logprob"] for entry in reply.response_metadata["logprobs"]["content"]] == [-0.1, -0.2]
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.usage_metadata["input_token_details"]["cache_read"] == 3
    assert counting.usage_metadata["ours"]["output_tokens"] == 2
    assert ours.asked[0][0] == (Message("system", "Be brief."), Message("user", "Hi"))


def test_it_streams_with_a_last_chunk_that_says_so() -> None:
    chunks = list(as_langchain(Ours("Hel", "lo")).stream("Hi"))
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", ""]
    assert chunks[-1].chunk_position == "last"
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata["total_tokens"] == 9
    assert [token for chunk in chunks for token in tokens_of(chunk)] == [
        Token("Hel", -0.1, -3.0),
        Token("lo", -0.2, -3.0),
    ]


def test_there_and_back_again_nothing_is_lost() -> None:
    model = LangChainModel(as_langchain(Ours("Hel", "lo")), "there and back")
    assert list(model.stream(ASKED, max_tokens=9)) == [
        Token("Hel", -0.1, -3.0),
        Token("lo", -0.2, -3.0),
        Completed("stop", 7, 2, 3),
    ]


def test_a_system_message_is_always_sent_and_options_can_be_bound() -> None:
    ours = Ours("x")
    chat = as_langchain(ours, max_tokens=5, conversation="c")
    chat.invoke([HumanMessage([{"type": "text", "text": "Hi"}]), AIMessage("Yes?"), HumanMessage("Go on")])
    chat.bind(adapter="tuned", max_tokens=9).invoke([SystemMessage("S"), HumanMessage("Hi")])
    first, second = ours.asked
    assert [message.role for message in first[0]] == ["system", "user", "assistant", "user"]
    assert first[0][0].content == DEFAULT_SYSTEM
    assert first[1] == {"max_tokens": 5, "adapter": None, "conversation": "c"}
    assert second[1] == {"max_tokens": 9, "adapter": "tuned", "conversation": "c"}
    assert chat.get_num_tokens("a b c") == 3


@pytest.mark.parametrize(
    "message",
    [ToolMessage("x", tool_call_id="1"), HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])],
)
def test_what_no_text_model_reads_is_refused(message: Any) -> None:
    with pytest.raises(ModelError):
        as_langchain(Ours("x")).invoke([message])


def test_leaving_a_langchain_stream_stops_our_model() -> None:
    ours = Ours("a", "b", "c")
    stream = as_langchain(ours).stream("Hi")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert ours.closed


@pytest.mark.parametrize(
    ("words", "stops", "said"),
    [
        (("ab", "c"), ["zz"], "abc"),
        (("a", "b", "STOP", "c"), ["STOP"], "ab"),
        (("a", "bS", "TO", "Pc"), ["STOP"], "ab"),
        (("a", "bS", "TO", "x"), ["STOP"], "abSTOx"),
        (("one", "\n", "two", "\n", "\n", "three"), ["\n\n", "###"], "one\ntwo"),
        (("x",), ["x"], ""),
    ],
)
def test_stop_texts_end_the_stream_before_them(words: tuple[str, ...], stops: list[str], said: str) -> None:
    ours = Ours(*words)
    reply = as_langchain(ours).invoke("Hi", stop=stops)
    assert reply.text == said
    assert ours.closed


def test_tokens_are_not_held_back_longer_than_a_stop_needs() -> None:
    def source() -> Iterator[Token | Completed]:
        for word in ("a", "S", "b", "c"):
            seen.append(word)
            yield Token(word)

    seen: list[str] = []
    held = until_stop(source(), ("ST",), 1)
    assert next(held) == Token("a")
    assert seen == ["a"]
    assert next(held) == Token("S")
    assert seen == ["a", "S", "b"]


def test_token_texts_that_do_not_add_up_keep_text_and_logprobs() -> None:
    content = [{"token": "\ufffd", "logprob": -1.0}, {"token": "\ufffd", "logprob": -0.5, "top_logprobs": None}]
    chunk = AIMessageChunk(content="é", response_metadata={"logprobs": {"content": content}})
    assert tokens_of(chunk) == (Token("é", -1.0), Token("", -0.5))
    assert tokens_of(AIMessageChunk(content="", response_metadata={"logprobs": None})) == ()
    assert tokens_of(AIMessageChunk(content="x", response_metadata={"logprobs": {"content": "no"}})) == (Token("x"),)


def test_an_estimate_takes_any_text() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("a" * 1000) == 250
    assert estimate_tokens("12345") == 5
    assert estimate_tokens("\ud800\x00é漢字😀") >= 6
    assert clean("a\x00\ud800") == "a?"
