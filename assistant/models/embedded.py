"""The embedded model: a GGUF file run by llama.cpp in this process, as a `ChatModel`.

Greedy, with token log-probabilities. A conversation comes back to its slot and reads only what is new; every request
states the scale of every loaded adapter (one that is not named would stay on); a request that nobody waits for any more
stops within one token or one small batch of its prompt. Made by `assistant/models/__init__.py`.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.errors import ModelError, ModelUnavailable, PromptTooLong
from assistant.models.chat_tokens import ChatTokens
from assistant.models.engine import Engine, EngineOptions
from assistant.models.gguf_header import read_header
from assistant.models.slots import Slots
from assistant.types import Completed, Message, Token

POLL_SECONDS = 0.02
"""How soon a request that waits for its first token notices that it was cancelled."""
CLOSE_SECONDS = 10.0
LONGEST_TOKEN = 64
"""Characters: a longer prompt than this many per token of context is refused before it is tokenised."""
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """One request on its way through the engine."""

    request: Mapping[str, Any]
    slot: int
    cancel: threading.Event
    left: threading.Event = field(default_factory=threading.Event)
    """Set once nobody reads the stream any more."""
    items: queue.SimpleQueue[dict[str, Any] | Exception | None] = field(default_factory=queue.SimpleQueue)
    """Chunks, then None; an exception instead where the engine broke down."""


class EmbeddedModel:
    """A `ChatModel` on a GGUF file. Any number of threads may stream; more than there are slots wait in line."""

    def __init__(self, options: EngineOptions, fingerprint: str) -> None:
        """Check the files, load them, start the engine.

        Raises:
            ModelUnavailable: a file is missing or damaged, or the engine refuses it.
        """
        header = read_header(options.weights)
        architecture = header.text("general.architecture")
        for path in options.adapters.values():
            _check_adapter(path.name, read_header(path).metadata, architecture)
        trained = header.number(f"{architecture}.context_length", options.context_tokens)
        options = replace(options, context_tokens=min(options.context_tokens, trained))
        self.weights = options.weights
        self.name = options.weights.stem.replace(".Q", " Q")
        self.fingerprint = fingerprint
        self.context_tokens = options.context_tokens
        self.adapters = tuple(options.adapters)
        self._engine = Engine(options)
        self._tokens = ChatTokens(self._engine, header)
        self._slots = Slots(options.slots)
        self._closed = threading.Event()
        self._workers: set[threading.Thread] = set()
        atexit.register(self.close)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        adapter: str | None = None,
        conversation: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Token | Completed]:
        """Generate greedily; see `ChatModel.stream`."""
        cancel = cancel or threading.Event()
        ids = self._prompt(messages, max_tokens, adapter)
        slot = self._slots.take((conversation, adapter), cancel)
        if slot is None:
            yield Completed("cancelled", 0, 0)
            return
        request = {
            "prompt": ids,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "logprobs": 2,
            "stream": True,
            "return_progress": True,
            "cache_prompt": True,
            "id_slot": slot,
            "lora": [{"id": i, "scale": float(name == adapter)} for i, name in enumerate(self.adapters)],
        }
        running = _Running(request, slot, cancel)
        worker = threading.Thread(target=self._work, args=(running,), name=f"engine-slot-{slot}", daemon=True)
        self._workers.add(worker)
        worker.start()
        try:
            yield from self._read(running, len(ids))
        finally:
            running.left.set()

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as this model reads it, exactly."""
        return len(self._tokens.content(text))

    def as_trained(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """See `TrainableModel.as_trained`."""
        return self._tokens.of(messages), [*self._tokens.content(answer), self._tokens.end]

    def close(self) -> None:
        """Stop what is running and give back the engine. Idempotent."""
        self._closed.set()
        atexit.unregister(self.close)
        for worker in tuple(self._workers):
            worker.join(CLOSE_SECONDS)
        self._engine.close()

    def _prompt(self, messages: Sequence[Message], max_tokens: int, adapter: str | None) -> list[int]:
        """Token ids of a request that the engine can take."""
        if self._closed.is_set():
            raise ModelUnavailable("the embedded engine was closed. Start Rungs again.")
        if adapter is not None and adapter not in self.adapters:
            known = ", ".join(self.adapters) or "none is loaded"
            raise ModelError(f"no adapter is called {adapter!r} ({known}). Name a loaded one, or none.")
        characters = sum(len(message.content) for message in messages)
        if characters > self.context_tokens * LONGEST_TOKEN:
            raise PromptTooLong(
                f"the prompt has {characters} characters; the model reads {self.context_tokens} tokens. Shorten it."
            )
        ids = self._tokens.of(messages)
        if len(ids) + max_tokens > self.context_tokens:
            raise PromptTooLong(
                f"the prompt has {len(ids)} tokens and the answer may have {max_tokens}; the model takes "
                f"{self.context_tokens} together. Shorten it, or raise context_tokens."
            )
        return ids

    def _work(self, running: _Running) -> None:
        """Thread: let the engine generate, hand every chunk over, give the slot back."""
        end: Exception | None = None

        def take(chunk: dict[str, Any]) -> bool:
            running.items.put(chunk)
            return running.left.is_set() or running.cancel.is_set() or self._closed.is_set()

        try:
            self._engine.complete(running.request, take)
        except Exception as error:  # the thread's edge: whoever reads the stream gets it
            log.exception("the embedded engine failed")
            end = error
        finally:
            self._slots.give_back(running.slot)
            running.items.put(end)
            self._workers.discard(threading.current_thread())

    def _read(self, running: _Running, tokens_in: int) -> Iterator[Token | Completed]:
        """Chunks to tokens, and the `Completed` at the end."""
        tokens_out = tokens_cached = 0
        finish = "cancelled"
        while not running.cancel.is_set():
            try:
                chunk = running.items.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if chunk is None:
                break
            if isinstance(chunk, Exception):
                raise ModelUnavailable(f"the embedded engine failed: {chunk}") from chunk
            if "error" in chunk:
                raise ModelUnavailable(f"the embedded engine refused a request: {chunk['error'].get('message')}")
            if "prompt_progress" in chunk:
                tokens_cached = int(chunk["prompt_progress"].get("cache", 0))
                continue
            choice = chunk["choices"][0]
            if choice.get("finish_reason"):
                finish = str(choice["finish_reason"])
                tokens_out = int(chunk.get("usage", {}).get("completion_tokens", tokens_out))
            elif choice["text"]:
                tokens_out += 1
                yield _token(choice)
        if self._closed.is_set() and finish == "cancelled" and not running.cancel.is_set():
            raise ModelUnavailable("the embedded engine was closed while it was answering.")
        yield Completed(
            "length" if finish == "length" else "stop" if finish == "stop" else "cancelled",
            tokens_in,
            tokens_out,
            tokens_cached,
        )


def _token(choice: Mapping[str, Any]) -> Token:
    """One generated piece of text. A character made of several tokens carries its last token's numbers."""
    content = (choice.get("logprobs") or {}).get("content") or []
    if not content:
        return Token(choice["text"])
    last = content[-1]
    others = [top["logprob"] for top in last.get("top_logprobs", ()) if top["id"] != last["id"]]
    return Token(choice["text"], float(last["logprob"]), float(max(others)) if others else None)


def _check_adapter(name: str, metadata: Mapping[str, object], architecture: str) -> None:
    """An adapter file must say that it is one, for this kind of model."""
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise ModelUnavailable(f"{name} is no LoRA adapter. Name the PEFT folder instead; it is exported by itself.")
    if metadata.get("general.architecture") != architecture:
        raise ModelUnavailable(
            f"adapter {name} is for {metadata.get('general.architecture')} models, this one is {architecture}."
        )
