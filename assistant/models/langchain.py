"""Both doors to LangChain: its chat models as a `ChatModel`, and any `ChatModel` as one of its chat models.

LangChain's `BaseChatModel` is what other people's code plugs into. `LangChainModel` takes one in; `as_langchain` hands
one out. Nothing here retries, traces or calls home: LangSmith tracing
is switched off for every call, whatever the environment says. Images, audio and tool calls are refused.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Literal

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langsmith import tracing_context
from pydantic import ConfigDict

from assistant.errors import ModelError, ModelUnavailable
from assistant.models.chunks import Tally, check_fits, to_langchain
from assistant.models.estimate import estimate_prompt, estimate_tokens
from assistant.types import ChatModel, Completed, Message, Token

log = logging.getLogger(__name__)
DEFAULT_SYSTEM = "You are a helpful assistant."


def from_langchain(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """LangChain's messages as ours, with a plain system message first where there is none.

    Raises:
        ModelError: a message is neither system, human nor AI text.
    """
    roles: Mapping[str, Literal["system", "user", "assistant"]] = {
        "system": "system",
        "human": "user",
        "ai": "assistant",
    }
    taken: list[Message] = []
    for message in messages:
        role = roles.get(message.type.removesuffix("MessageChunk").lower())
        if role is None:
            raise ModelError(f"a {message.type} message cannot be taken: this model reads system, human and AI text.")
        if not isinstance(message.content, str) and any(
            isinstance(part, dict) and part.get("type") != "text" for part in message.content
        ):
            raise ModelError("only text can be taken; leave images, audio, files and tool calls out.")
        taken.append(Message(role, str(message.text)))
    if not taken or taken[0].role != "system":
        taken.insert(0, Message("system", DEFAULT_SYSTEM))
    return tuple(taken)


class LangChainModel:
    """Any LangChain chat model as a `ChatModel`.

    It runs in the caller's thread and stops between two chunks; deadlines and retries are the chat model's own.
    """

    def __init__(self, chat: BaseChatModel, name: str, *, fingerprint: str = "", context_tokens: int = 4096) -> None:
        self.name = name
        self.fingerprint = fingerprint or f"langchain:{chat._llm_type}:{name}"
        self.context_tokens = context_tokens
        self.adapters: tuple[str, ...] = ()
        self._chat = chat
        self._closed = False

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        adapter: str | None = None,
        conversation: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Token | Completed]:
        """See `ChatModel.stream`. `conversation` is not used: what a provider caches is its own affair."""
        if adapter is not None:
            raise ModelError(f"{self.name} has no adapter {adapter!r}: LangChain's interface knows none.")
        if self._closed:
            raise ModelUnavailable(f"{self.name} was closed. Make a new model.")
        tally = Tally(check_fits(messages, max_tokens, self.context_tokens, self.name))
        cancel = cancel or threading.Event()
        # A fresh context: no callback or tracer of the caller's reaches the provider. One context per stream, entered
        # for each chunk, because a generator runs in whatever context its caller has at that moment.
        apart = contextvars.Context()
        chunks = apart.run(self._open, messages, max_tokens)
        with closing(chunks):
            while not cancel.is_set() and tally.tokens < max_tokens:
                chunk = apart.run(self._next, chunks)
                if chunk is None:
                    yield tally.completed(tally.finish or "stop")
                    return
                for token in tally.read(chunk):
                    yield token
                    if cancel.is_set():
                        break
        yield tally.completed("cancelled" if cancel.is_set() else "length")

    def count_tokens(self, text: str) -> int:
        """An estimate that errs upward."""
        return estimate_tokens(text)

    def close(self) -> None:
        """Forget the chat model; who made it closes it."""
        self._closed = True

    def _open(self, messages: Sequence[Message], max_tokens: int) -> Any:
        with tracing_context(enabled=False):
            return self._chat.stream(to_langchain(messages), max_tokens=max_tokens)

    def _next(self, chunks: Iterator[AIMessageChunk]) -> AIMessageChunk | None:
        try:
            with tracing_context(enabled=False):
                return next(chunks, None)
        except Exception as error:
            # Other people's code, with other people's exceptions: here they become one of ours.
            log.warning("%s: %s", self.name, type(error).__name__)
            raise ModelUnavailable(f"{self.name} failed: {type(error).__name__}: {str(error)[:200]}") from error


class RungsChat(BaseChatModel):
    """A `ChatModel` of ours as a LangChain chat model. Made by `as_langchain`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())

    model: Any
    """The `ChatModel`; it is not closed from here."""
    max_tokens: int = 256
    adapter: str | None = None
    conversation: str | None = None

    @property
    def _llm_type(self) -> str:
        return "rungs"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model.name, "fingerprint": self.model.fingerprint, "adapter": self.adapter}

    def get_num_tokens(self, text: str) -> int:
        """Tokens of `text` as the model counts them."""
        return int(self.model.count_tokens(text))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        items = self.model.stream(
            from_langchain(messages),
            max_tokens=int(kwargs.get("max_tokens") or self.max_tokens),
            adapter=kwargs.get("adapter", self.adapter),
            conversation=kwargs.get("conversation", self.conversation),
        )
        with closing(items):
            for item in until_stop(items, tuple(stop or ()), estimate_prompt(from_langchain(messages))):
                chunk = self._last(item) if isinstance(item, Completed) else _chunk_of(item)
                if run_manager:
                    run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole: ChatGenerationChunk | None = None
        for chunk in self._stream(messages, stop, run_manager, **kwargs):
            whole = chunk if whole is None else whole + chunk
        if whole is None or not isinstance(whole.message, AIMessageChunk):
            raise ModelUnavailable(f"{self.model.name} ended its stream without saying so.")
        message = AIMessage(
            content=whole.message.content,
            response_metadata=whole.message.response_metadata,
            usage_metadata=whole.message.usage_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last(self, item: Completed) -> ChatGenerationChunk:
        usage = UsageMetadata(
            input_tokens=item.tokens_in,
            output_tokens=item.tokens_out,
            total_tokens=item.tokens_in + item.tokens_out,
            input_token_details=InputTokenDetails(cache_read=item.tokens_cached),
        )
        metadata = {"finish_reason": item.finish, "model_name": self.model.name, "model_provider": "rungs"}
        message = AIMessageChunk(content="", response_metadata=metadata, usage_metadata=usage, chunk_position="last")
        return ChatGenerationChunk(message=message)


def _chunk_of(token: Token) -> ChatGenerationChunk:
    metadata: dict[str, Any] = {}
    if token.logprob is not None:
        others = [] if token.runner_up is None else [{"token": "", "logprob": token.runner_up}]
        chosen = {"token": token.text, "logprob": token.logprob}
        metadata = {"logprobs": {"content": [{**chosen, "top_logprobs": [chosen, *others]}]}}
    return ChatGenerationChunk(message=AIMessageChunk(content=token.text, response_metadata=metadata))


def as_langchain(
    model: ChatModel, *, max_tokens: int = 256, adapter: str | None = None, conversation: str | None = None
) -> RungsChat:
    """A LangChain chat model that runs on `model`; `max_tokens` and `adapter` can be bound per call as well."""
    return RungsChat(model=model, max_tokens=max_tokens, adapter=adapter, conversation=conversation)


def until_stop(
    items: Iterator[Token | Completed], stops: tuple[str, ...], tokens_in: int
) -> Iterator[Token | Completed]:
    """The same stream, ended before the first of `stops`; tokens that might begin one are held back till it is clear.

    `tokens_in` is what an early end reports, since the model's own count comes last.
    """
    held: list[Token] = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, Completed):
            yield from held
            yield item
            return
        held.append(item)
        text = "".join(token.text for token in held)
        places = [place for stop in stops if (place := text.find(stop)) >= 0]
        if places:
            yield from _cut(held, min(places))
            yield Completed("stop", tokens_in, number)
            return
        while held and not _may_begin("".join(token.text for token in held), stops):
            yield held.pop(0)


def _may_begin(text: str, stops: tuple[str, ...]) -> bool:
    """Whether some suffix of `text` that starts in its first token could grow into a stop."""
    return any(text.endswith(stop[:size]) for stop in stops for size in range(1, len(stop)))


def _cut(tokens: Sequence[Token], characters: int) -> Iterator[Token]:
    for token in tokens:
        if characters <= 0:
            return
        yield token if len(token.text) <= characters else Token(token.text[:characters], token.logprob, token.runner_up)
        characters -= len(token.text)
