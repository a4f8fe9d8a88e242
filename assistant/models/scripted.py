"""A test double: a `ChatModel` that says what a test told it to, at the speed and with the certainty it asked for.

It understands nothing. `RUNGS_MODEL=scripted` serves its echo, so that surfaces can be tried without weights; tests
give it replies, or a function of the messages. Made by `assistant/models/__init__.py` and by tests.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assistant.errors import ModelError, ModelUnavailable, PromptTooLong
from assistant.types import Completed, Message, Token

Reply = str | Sequence[Token] | Exception
"""Text is split into tokens; an exception is raised in place of an answer."""
Script = Sequence[Reply] | Callable[[Sequence[Message]], Reply]
PIECE = re.compile(r"\s*\S+|\s+$")
ECHO_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request was."""

    messages: tuple[Message, ...]
    max_tokens: int
    adapter: str | None
    conversation: str | None


class ScriptedModel:
    """Says the next reply of its script, or what a callable makes of the messages; records what it was asked."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        logprob: float = -0.1,
        seconds_per_token: float = 0.0,
        adapters: Sequence[str] = (),
        context_tokens: int = 4096,
    ) -> None:
        """Set the scene.

        Args:
            script: replies in order (the last one is repeated), or a function; None echoes the last user message.
            logprob: given to every token of a reply that is text; the runner-up gets 2 less.
            seconds_per_token: waited before each token, broken off by `cancel`.
            adapters: names that `stream` accepts.
            context_tokens: longer prompts are refused, counted as `count_tokens` does.
        """
        self.name = "scripted"
        self.fingerprint = "scripted"
        self.context_tokens = context_tokens
        self.adapters = tuple(adapters)
        self.asked: list[Asked] = []
        self._script = script if script is not None else echo
        self._logprob = logprob
        self._seconds_per_token = seconds_per_token
        self._lock = threading.Lock()
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
        """Say the scripted reply; see `ChatModel.stream`."""
        cancel = cancel or threading.Event()
        reply = self._reply(Asked(tuple(messages), max_tokens, adapter, conversation))
        tokens_in = sum(self.count_tokens(message.content) for message in messages)
        if tokens_in + max_tokens > self.context_tokens:
            raise PromptTooLong(f"{tokens_in} tokens and {max_tokens} more do not fit {self.context_tokens}.")
        tokens = self._tokens(reply) if isinstance(reply, str) else list(reply)
        for done, token in enumerate(tokens[:max_tokens]):
            if self._wait(cancel):
                yield Completed("cancelled", tokens_in, done)
                return
            yield token
        if cancel.is_set():
            yield Completed("cancelled", tokens_in, min(len(tokens), max_tokens))
            return
        yield Completed("length" if len(tokens) > max_tokens else "stop", tokens_in, min(len(tokens), max_tokens))

    def count_tokens(self, text: str) -> int:
        """Words: that is what a token is here."""
        return len(PIECE.findall(text))

    def close(self) -> None:
        """From now on it is unavailable. Idempotent."""
        self._closed = True

    def _reply(self, asked: Asked) -> str | Sequence[Token]:
        if self._closed:
            raise ModelUnavailable("the scripted model was closed.")
        if asked.adapter is not None and asked.adapter not in self.adapters:
            raise ModelError(f"no adapter is called {asked.adapter!r}.")
        with self._lock:
            self.asked.append(asked)
            turn = len(self.asked) - 1
        if callable(self._script):
            reply = self._script(asked.messages)
        else:
            reply = self._script[min(turn, len(self._script) - 1)]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _tokens(self, text: str) -> list[Token]:
        return [Token(piece, self._logprob, self._logprob - 2.0) for piece in PIECE.findall(text)]

    def _wait(self, cancel: threading.Event) -> bool:
        """Whether the request was cancelled, after the time that a token takes."""
        return cancel.wait(self._seconds_per_token) if self._seconds_per_token else cancel.is_set()


def echo(messages: Sequence[Message]) -> str:
    """The default script: the last user message, shortened and marked as an echo."""
    said = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return f"You said: {said.strip()[:ECHO_CHARACTERS]}"
