"""LangChain's messages and streamed chunks, read as this package's tokens. Talks to nobody.

Used by both doors in `langchain.py` and by `exchange.py`, so that every provider's chunks are read in one way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata

from assistant.errors import PromptTooLong
from assistant.models.estimate import clean, estimate_prompt
from assistant.types import Completed, Message, Token

SAME_LOGPROB = 1e-4
"""Servers print log-probabilities with rounding; nearer than this is the same entry."""
LENGTH_REASONS = frozenset({"length", "max_tokens", "MAX_TOKENS"})


def to_langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    """Our messages as LangChain's; characters that no JSON encoder takes are replaced."""
    kinds: Mapping[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](content=clean(message.content)) for message in messages]


def check_fits(messages: Sequence[Message], max_tokens: int, context_tokens: int, name: str) -> int:
    """The estimated prompt tokens.

    Raises:
        PromptTooLong: they and `max_tokens` exceed `context_tokens`.
    """
    estimate = estimate_prompt(messages)
    if estimate + max_tokens > context_tokens:
        raise PromptTooLong(
            f"about {estimate} prompt tokens and {max_tokens} for the answer do not fit the {context_tokens} of "
            f"{name}. Shorten the question, or raise context_tokens if the model has more."
        )
    return estimate


def tokens_of(chunk: BaseMessage) -> tuple[Token, ...]:
    """The tokens of one streamed chunk, whose texts joined are exactly the chunk's text.

    Where a server's token texts do not add up to its text (a character cut in two), the first token carries all of
    the text and the others carry their log-probability alone.
    """
    text = str(chunk.text)
    entries = _logprob_entries(chunk.response_metadata)
    if not entries:
        return (Token(text),) if text else ()
    pieces = [str(entry.get("token", "")) for entry in entries]
    if "".join(pieces) != text:
        pieces = [text] + [""] * (len(entries) - 1)
    return tuple(
        Token(piece, _number(entry.get("logprob")), _runner_up(entry))
        for piece, entry in zip(pieces, entries, strict=True)
    )


def _logprob_entries(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    logprobs = metadata.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return [entry for entry in content if isinstance(entry, Mapping)] if isinstance(content, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _runner_up(entry: Mapping[str, Any]) -> float | None:
    listed = entry.get("top_logprobs")
    others = [
        number
        for other in (listed if isinstance(listed, list) else [])
        if isinstance(other, Mapping) and (number := _number(other.get("logprob"))) is not None
    ]
    others.sort(reverse=True)
    chosen = _number(entry.get("logprob"))
    if others and chosen is not None and abs(others[0] - chosen) < SAME_LOGPROB:
        del others[0]
    return others[0] if others else None


@dataclass(slots=True)
class Tally:
    """What one stream has told so far: usage, how it ended, how many tokens came."""

    prompt_estimate: int
    tokens: int = 0
    usage: UsageMetadata | None = None
    finish: Literal["stop", "length"] | None = None

    def read(self, chunk: AIMessageChunk) -> tuple[Token, ...]:
        """Count a chunk; returns its tokens."""
        if chunk.usage_metadata:
            self.usage = chunk.usage_metadata
        metadata = chunk.response_metadata
        reason = metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason")
        if reason:
            self.finish = "length" if reason in LENGTH_REASONS else "stop"
        tokens = tokens_of(chunk)
        self.tokens += len(tokens)
        return tokens

    def completed(self, finish: Literal["stop", "length", "cancelled"]) -> Completed:
        """The last item of the stream; tokens are counted here where the provider did not count them."""
        if self.usage is None or finish == "cancelled":
            return Completed(finish, self.prompt_estimate, self.tokens)
        cached = (self.usage.get("input_token_details") or {}).get("cache_read") or 0
        return Completed(finish, self.usage["input_tokens"], self.usage["output_tokens"], cached)
