"""One server's asynchronous side: ask, retry a little, keep the deadlines, hand over tokens as they come.

Raises only this package's errors, and none that hold the key. It retries before the first token alone. Runs on the
private loop of `served.py`; nothing else calls it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

import httpx2
import openai
from langchain_core.messages import AIMessageChunk, BaseMessage
from langsmith import tracing_context

from assistant.errors import ModelError, ModelTimeout
from assistant.models.chunks import Tally
from assistant.models.offers import Offers, read_offers
from assistant.models.refusals import Place, explain, too_long
from assistant.models.wire import length_limit, make_chat
from assistant.types import Token

log = logging.getLogger(__name__)
RETRIES = 2
RETRIED = frozenset({429, 502, 503, 504})
LOGPROBS_REFUSED = frozenset({400, 422, 501})
USAGE_SECONDS = 2.0
"""How long usage may lag behind the last token."""
CHARACTERS_PER_TOKEN_MAX = 256
"""No tokenizer has longer tokens in earnest."""
WITHOUT_KEY = "none"
"""Sent where no key is set, so that the client library does not take one out of the environment."""
WIRE_ERRORS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
"""What the client libraries raise; the plain ones where JSON is not shaped like chat chunks."""
Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. `first` counts from the question to the first token, retries included."""

    connect: float = 5.0
    first: float = 60.0
    between: float = 30.0
    total: float = 180.0


@dataclass(frozen=True, slots=True)
class Request:
    """What one stream asks for, and where its tokens go."""

    messages: Sequence[BaseMessage]
    max_tokens: int
    adapter: str | None
    tally: Tally
    put: Callable[[Token], None]


class Exchange:
    """Talks to one server. All methods but the constructor belong on one event loop."""

    def __init__(self, place: Place, model: str, deadlines: Deadlines) -> None:
        self.place = place
        self._model = model
        self._deadlines = deadlines
        self._chat, self._http = make_chat(place.url, model, place.key or WITHOUT_KEY, deadlines.connect)
        self._offers: Offers | None = None
        self._logprobs = True

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def offers(self) -> Offers:
        """What the server lists, asked once.

        Raises:
            ModelUnavailable, ModelTimeout: it cannot be asked.
        """
        seconds = min(self._deadlines.first, 2 * self._deadlines.connect)
        try:
            async with asyncio.timeout(seconds):
                return await self._listed()
        except TimeoutError:
            raise ModelTimeout(
                f"{self.place.url} did not list its models within {seconds:g} s. See the server's log."
            ) from None
        except WIRE_ERRORS as error:
            refusal = explain(error, self.place)
        raise refusal

    async def answer(self, request: Request) -> Finish:
        """Ask, and put tokens until the answer ends; says how it ended.

        Raises:
            ModelUnavailable, ModelTimeout, PromptTooLong.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        refusal: ModelError
        try:
            async with asyncio.timeout_at(started + min(self._deadlines.first, self._deadlines.total)) as limit:
                return await self._with_retries(request, limit, started + self._deadlines.total)
        except TimeoutError:
            if request.tally.finish:
                return request.tally.finish
            refusal = self._late(request.tally, loop.time() - started)
        except WIRE_ERRORS as error:
            refusal = explain(error, self.place)
        raise refusal  # outside of the handler: the client's exception, which may quote the key, is not chained

    async def _listed(self) -> Offers:
        if self._offers is None:
            self._offers = await read_offers(self._chat.root_async_client, self._model)
        return self._offers

    def _late(self, tally: Tally, seconds: float) -> ModelTimeout:
        if seconds >= self._deadlines.total:
            what, dial = f"did not finish within {self._deadlines.total:g} s", "total_seconds"
        elif tally.tokens:
            what, dial = (
                f"fell silent for {self._deadlines.between:g} s after {tally.tokens} tokens",
                "first_byte_seconds",
            )
        else:
            what, dial = f"sent no token within {self._deadlines.first:g} s", "first_byte_seconds"
        return ModelTimeout(
            f"{self.place.model} at {self.place.url} {what}. See whether the server is overloaded, or raise {dial}."
        )

    async def _with_retries(self, request: Request, limit: asyncio.Timeout, end: float) -> Finish:
        tries = 0
        logprobs = self._logprobs
        while True:
            try:
                finish = await self._once(request, logprobs, limit, end)
                self._logprobs = logprobs
                return finish
            except openai.APIStatusError as error:
                if request.tally.tokens or too_long(error):
                    raise
                if logprobs and error.status_code in LOGPROBS_REFUSED:
                    logprobs = False
                    log.info("%s: asking again without log-probabilities", self.place.url)
                    continue
                tries += 1
                wait = _seconds_to_wait(error.response.headers, tries)
                loop = asyncio.get_running_loop()
                if error.status_code not in RETRIED or tries > RETRIES or loop.time() + wait >= (limit.when() or end):
                    raise
            log.info("%s: asking again in %.1f s", self.place.url, wait)
            await asyncio.sleep(wait)

    async def _once(self, request: Request, logprobs: bool, limit: asyncio.Timeout, end: float) -> Finish:
        loop = asyncio.get_running_loop()
        tally = request.tally
        characters = request.max_tokens * CHARACTERS_PER_TOKEN_MAX
        with tracing_context(enabled=False):
            options = await self._options(request, logprobs)
            stream = cast(AsyncGenerator[AIMessageChunk], self._chat.astream(list(request.messages), **options))
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    tokens = tally.read(chunk)
                    surplus = max(0, tally.tokens - request.max_tokens)
                    for token in tokens[: len(tokens) - surplus]:
                        request.put(token)
                        characters -= len(token.text)
                    if tally.finish:
                        limit.reschedule(min(end, loop.time() + USAGE_SECONDS))
                    elif surplus or characters < 0:
                        tally.tokens -= surplus
                        return "length"  # the server does not keep to max_tokens; leaving closes the connection
                    elif tokens:
                        limit.reschedule(min(end, loop.time() + self._deadlines.between))
        if tally.finish is None:
            raise ValueError("it ended without a finish_reason" if tally.tokens else "there is no chat chunk in it")
        return tally.finish

    async def _options(self, request: Request, logprobs: bool) -> dict[str, Any]:
        offers = await self._offers_for(request.adapter)
        model, body = offers.request(self._model, request.adapter)
        options: dict[str, Any] = {
            "model": model,
            "extra_body": {**body, **length_limit(self.place.url, request.max_tokens)},
        }
        return {**options, "logprobs": True, "top_logprobs": 2} if logprobs else options

    async def _offers_for(self, adapter: str | None) -> Offers:
        try:
            async with asyncio.timeout(self._deadlines.first / 4):
                offers = await self._listed()
                if adapter is not None and adapter not in offers.adapters:
                    self._offers = None  # it may have been loaded since
                    offers = await self._listed()
        except (openai.APIError, TimeoutError):
            if adapter is not None:
                raise
            return Offers(self._model)  # the request itself will tell what is wrong
        if adapter is not None and adapter not in offers.adapters:
            listed = ", ".join(offers.adapters) or "none"
            raise self.place.unavailable(f"has no adapter {adapter!r}", f"It lists: {listed}. Load it there.")
        return offers


def _seconds_to_wait(headers: Mapping[str, str], tries: int) -> float:
    """What Retry-After says (seconds or a date), else half a second, doubled with each try."""
    asked = headers.get("retry-after", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return float(0.25 * 2**tries)
