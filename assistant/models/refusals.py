"""What an OpenAI-compatible server can do wrong, as this package's errors: what failed, where, and what to do next.

The server's own words are quoted in part, with the key taken out of them, since some servers echo it. Used by
`served.py`; nothing here talks to anyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2
import openai

from assistant.errors import ModelError, ModelTimeout, ModelUnavailable, PromptTooLong

QUOTED_CHARACTERS = 200
TOO_LONG = re.compile(
    r"context[_ ](length|size|window|limit)|exceed_context|maximum context|too many tokens|prompt is too long", re.I
)
WHAT_TO_DO: Mapping[int, str] = {
    401: "The key was refused: set model_key to a valid one.",
    403: "The key has no access: check its rights, or model_name.",
    404: "Nothing is there: check that model_url ends in /v1 and that the server has the model (model_name).",
    429: "Too many requests or no quota left: wait, or raise the limit at the provider.",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request went, for messages; the key is known only so that it can be taken out of them."""

    url: str
    model: str
    key: str

    def scrub(self, text: str) -> str:
        """`text` on one line, shortened, without the key."""
        text = re.sub(r"Error code: \d+ - ", "", " ".join(text.split()))
        if self.key:
            text = text.replace(self.key, "***")
        return text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}…"

    def unavailable(self, what: str, to_do: str) -> ModelUnavailable:
        """The message every refusal has: who, what, what to do."""
        return ModelUnavailable(self.scrub(f"{self.model} at {self.url}: {what}.") + f" {to_do}")


def too_long(error: openai.APIError) -> bool:
    """Whether the server says that the prompt does not fit."""
    status = getattr(error, "status_code", 400)
    return status in (400, 413, 422) and bool(TOO_LONG.search(f"{error.message} {error.body}"))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explain(error: Exception, place: Place) -> ModelError:
    """The error to raise instead of what the client raised."""
    if isinstance(error, openai.APITimeoutError):
        return ModelTimeout(
            f"no connection to {place.url} within its deadline. "
            "Check model_url and the network, or raise connect_seconds."
        )
    if isinstance(error, openai.APIConnectionError):
        causes = list(_causes(error))
        said = next(
            (place.scrub(str(cause)) for cause in causes if isinstance(cause, httpx2.HTTPError)), "no reason given"
        )
        if any(isinstance(cause, httpx2.ConnectError) for cause in causes):
            return place.unavailable(f"no connection ({said})", "Start the server, or check model_url.")
        return place.unavailable(f"the connection broke ({said})", "Ask again; see the server's log if it stays so.")
    if isinstance(error, openai.APIError) and too_long(error):
        return PromptTooLong(
            place.scrub(f"{place.model} at {place.url} says: {error.message}.")
            + " Shorten the question, or lower context_tokens to what the server has."
        )
    if isinstance(error, openai.APIStatusError):
        to_do = WHAT_TO_DO.get(error.status_code, "See the server's log; it may be starting or overloaded.")
        return place.unavailable(f"answered {error.status_code} ({place.scrub(error.message)})", to_do)
    if isinstance(error, openai.APIError):
        return place.unavailable(f"broke off with an error ({place.scrub(error.message)})", "See the server's log.")
    kind = type(error).__name__
    return place.unavailable(
        f"sent a stream that cannot be read ({kind}: {place.scrub(str(error))})",
        "Check that it speaks the OpenAI chat API and that nothing between cuts streams.",
    )
