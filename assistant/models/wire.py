"""The HTTP side of `served.py`: whom we may talk to, through which client, and how much may come back.

No key goes into a URL, none is taken out of the environment, and no answer grows without bound. A server on this
machine is never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import SecretStr

from assistant.errors import BadSettings

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

BYTES_MAX = 8 * 1024 * 1024
"""Of one answer on the wire; a chunk with log-probabilities takes about 600 bytes a token."""
OPENAI_HOST = "api.openai.com"


def check_url(url: str) -> str:
    """The base URL without its last slash.

    Raises:
        BadSettings: it is missing, is no http(s) URL, or carries a password or a query that messages would show.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = "is empty" if not url else "is no http or https URL"
        raise BadSettings(f'model_url {shown}. Set it to the base of the server, like "http://127.0.0.1:8000/v1".')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadSettings(f"model_url for {parts.hostname} carries a password or a query. Put the key into model_key.")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_chat(url: str, model: str, key: str, connect_seconds: float) -> tuple[ChatOpenAI, httpx2.AsyncClient]:
    """The chat model and the HTTP client under it, which the caller closes. Only the deadline to connect is theirs."""
    from langchain_openai import ChatOpenAI

    http = openai.DefaultAsyncHttpxClient(
        timeout=httpx2.Timeout(None, connect=connect_seconds, pool=connect_seconds),
        trust_env=not is_loopback(url),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [_bound]},
    )
    chat = ChatOpenAI(
        base_url=url,
        model=model,
        api_key=SecretStr(key),
        http_async_client=http,
        timeout=httpx2.Timeout(None, connect=connect_seconds, pool=connect_seconds),
        max_retries=0,
        stream_usage=True,
        stream_chunk_timeout=0,
        temperature=0.0,
        use_responses_api=False,
    )
    return chat, http


def length_limit(url: str, max_tokens: int) -> dict[str, int]:
    """How this server wants to be told the most tokens to write: OpenAI renamed the field, few others followed."""
    field = "max_completion_tokens" if urlsplit(url).hostname == OPENAI_HOST else "max_tokens"
    return {field: max_tokens}


async def _bound(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """A response body that ends with an error where it grows past `BYTES_MAX`."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = BYTES_MAX
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx2.DecodingError(f"the answer is longer than {BYTES_MAX} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
