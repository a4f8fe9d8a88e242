"""The served model: any OpenAI-compatible server (vLLM, llama.cpp, Ollama, a hosted API) as a `ChatModel`.

It speaks through `langchain-openai`'s ChatOpenAI on its asynchronous path, on a private event loop (`exchange.py`),
because only there can a wait be given up: the deadlines to connect, for the first token, between tokens and for the
whole answer are Rungs' own. A request that nobody waits for any more is closed, so that the server stops. It traces to
nobody and never says the key. Made by `assistant/models/__init__.py`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from assistant.errors import ModelError, ModelUnavailable
from assistant.models.background import Background
from assistant.models.estimate import estimate_tokens
from assistant.settings import Settings
from assistant.types import ChatModel, Completed, Message, Token

if TYPE_CHECKING:
    from assistant.models.exchange import Deadlines, Finish, Request
    from assistant.models.offers import Offers

T = TypeVar("T")
log = logging.getLogger(__name__)
POLL_SECONDS = 0.02
"""How soon a stream that waits for a token notices that it was cancelled."""
LEAVE_SECONDS = 2.0
"""How long leaving a stream waits for its connection to close."""
BETWEEN_SECONDS_MAX = 30.0


class ServedModel:
    """A `ChatModel` on a server. Any number of threads may stream."""

    def __init__(
        self, url: str, model: str, *, key: str = "", deadlines: Deadlines | None = None, context_tokens: int = 4096
    ) -> None:
        """Nothing is asked of the server yet, unless `model` is empty: then the first one it lists is taken.

        Raises:
            BadSettings: `url` is none that a key may be sent to.
            ModelUnavailable, ModelTimeout: `model` is empty and the server cannot be asked.
        """
        from assistant.models.exchange import Deadlines as Default
        from assistant.models.exchange import Exchange
        from assistant.models.refusals import Place
        from assistant.models.wire import check_url

        url = check_url(url)
        deadlines = deadlines or Default()
        self._background = Background("rungs-served")
        self._exchange = Exchange(Place(url, model or "the model", key), model, deadlines)
        if not model:
            model = self._first_listed()
            self._exchange = Exchange(Place(url, model, key), model, deadlines)
        self.name = model
        self.fingerprint = f"served:{url}:{model}"
        self.context_tokens = context_tokens

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that the server lists; none as long as it cannot be asked."""
        try:
            return self._offers().adapters
        except ModelError as error:
            log.warning("which adapters there are is unknown: %s", error)
            return ()

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        adapter: str | None = None,
        conversation: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Token | Completed]:
        """See `ChatModel.stream`. `conversation` is not sent: servers find a known prefix by themselves."""
        from assistant.models.chunks import Tally, check_fits, to_langchain
        from assistant.models.exchange import Request

        cancel = cancel or threading.Event()
        items: queue.SimpleQueue[Token | None] = queue.SimpleQueue()
        tally = Tally(check_fits(messages, max_tokens, self.context_tokens, self.name))
        request = Request(to_langchain(messages), max_tokens, adapter, tally, items.put)
        if cancel.is_set():
            yield tally.completed("cancelled")
            return
        work = self._start(self._answer(request, items))
        handed = 0
        try:
            while (token := _next(items, cancel)) is not None:
                handed += 1
                yield token
            if cancel.is_set():
                last = Completed("cancelled", tally.prompt_estimate, handed)
            else:
                finish = self._result(work)
                last = tally.completed(finish)
        finally:
            _leave(work, items)
        yield last

    def count_tokens(self, text: str) -> int:
        """An estimate that errs upward: the server's tokenizer is not at hand."""
        return estimate_tokens(text)

    def close(self) -> None:
        """Give up what runs, close the connections, end the thread. Idempotent."""
        self._background.close(self._exchange.close())

    async def _answer(self, request: Request, items: queue.SimpleQueue[Token | None]) -> Finish:
        try:
            return await self._exchange.answer(request)
        finally:
            items.put(None)

    def _result(self, work: Future[T]) -> T:
        try:
            return work.result()
        except CancelledError:
            raise self._closed() from None

    def _offers(self) -> Offers:
        return self._result(self._start(self._exchange.offers()))

    def _first_listed(self) -> str:
        try:
            listed = self._offers().base
        except ModelError:
            self.close()
            raise
        if not listed:
            self.close()
            raise self._exchange.place.unavailable("lists no model", "Set model_name to what the server serves.")
        return listed

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return self._background.submit(work)
        except RuntimeError:
            raise self._closed() from None

    def _closed(self) -> ModelUnavailable:
        return self._exchange.place.unavailable("was closed", "Make a new model.")


def make_served(settings: Settings) -> ChatModel:
    """The served model that the settings name: `model_url`, `model_name`, `model_key` and the three deadlines.

    Raises:
        BadSettings: `model_url` is missing or wrong.
        ModelUnavailable, ModelTimeout: `model_name` is empty and the server cannot be asked for one.
    """
    from assistant.models.exchange import Deadlines

    deadlines = Deadlines(
        connect=settings.connect_seconds,
        first=settings.first_byte_seconds,
        between=min(settings.first_byte_seconds, BETWEEN_SECONDS_MAX),
        total=settings.total_seconds,
    )
    model = ServedModel(
        settings.model_url,
        settings.model_name,
        key=settings.model_key,
        deadlines=deadlines,
        context_tokens=settings.context_tokens,
    )
    return cast(ChatModel, model)  # mypy takes `adapters`, a property here, for less than the protocol's variable


def _next(items: queue.SimpleQueue[Token | None], cancel: threading.Event) -> Token | None:
    """The next token; None at the end, and once cancelled."""
    while not cancel.is_set():
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=POLL_SECONDS)
    return None


def _leave(work: Future[Finish], items: queue.SimpleQueue[Token | None]) -> None:
    """Close the connection if it is still open, and wait until it is, so that the server has stopped by then."""
    if work.done() or not work.cancel():
        return
    with contextlib.suppress(queue.Empty):
        while items.get(timeout=LEAVE_SECONDS) is not None:
            pass
