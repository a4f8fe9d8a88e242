"""One delivery of a webhook: signed as standardwebhooks.com says, sent to a public address and to no other.

The name is looked up once, every address that it has must be global, and the connection goes to one of those: a name
that answers differently the second time gains nothing. Redirects are not followed, proxies of the environment are not
used, and what comes back is not read. Called by `webhooks.py`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from assistant.errors import AssistantError

SECRET_PREFIX = "whsec_"  # noqa: S105  (the standard's, not a secret)
URL_MAX = 2000
TOTAL_SECONDS = 15.0
AGENT = "Rungs-Webhooks/1"


def signed(id: str, timestamp: int, body: str, secret: str) -> dict[str, str]:
    """The headers that prove where a delivery comes from.

    Args:
        id: of the event; the same for every try.
        timestamp: seconds since 1970.
        body: exactly what is sent.
        secret: `whsec_` and base64, as it was shown when the webhook was made.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def check_url(url: str, private: bool) -> None:
    """Whether a webhook may have this address; names are looked up when it is delivered.

    Raises:
        AssistantError: it is not https, has no host, or carries a name and password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AssistantError(f"{url[:200]!r} is no address.") from error
    printable = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not host or port == 0 or len(url) > URL_MAX or not printable or parts.fragment:
        raise AssistantError(f"{url[:200]!r} is no address that can be called. Give one like https://example.com/hook")
    if parts.username is not None or parts.password is not None:
        raise AssistantError("a webhook's address holds no name and password; its deliveries are signed instead.")
    allowed = ("https", "http") if private and _is_loopback(host) else ("https",)
    if parts.scheme not in allowed:
        raise AssistantError(f"a webhook's address begins with https://, not {parts.scheme[:20]}://")
    if _address(host) and not _may(host, private):
        raise AssistantError(_private(host))


async def post(url: str, headers: Mapping[str, str], body: str, private: bool) -> int:
    """Send one delivery. Returns the status that came back.

    Raises:
        AssistantError: the address may not be called.
        TimeoutError: it took longer than `TOTAL_SECONDS`.
        OSError, httpx.HTTPError: it could not be reached.
    """
    check_url(url, private)
    async with asyncio.timeout(TOTAL_SECONDS):
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or {"https": 443, "http": 80}[parts.scheme]
        address = await _resolved(host, port, private)
        pinned = f"[{address}]" if ":" in address else address
        target = f"{parts.scheme}://{pinned}:{port}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        named = parts.netloc
        told = {**headers, "host": named, "content-type": "application/json", "user-agent": AGENT}
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, verify=ssl.create_default_context()) as client,
            client.stream("POST", target, content=body, headers=told, extensions={"sni_hostname": host}) as response,
        ):
            return response.status_code


async def _resolved(host: str, port: int, private: bool) -> str:
    """The address to connect to; all that the name has must be allowed."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not _may(address, private):
            raise AssistantError(_private(address))
    if not addresses:
        raise AssistantError(f"{host} has no address.")
    return addresses[0]


def _may(address: str, private: bool) -> bool:
    given = _address(address)
    if given is None:
        return False
    if private and given.is_loopback:
        return True
    return given.is_global and not given.is_multicast


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        given = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(given, ipaddress.IPv6Address):
        inner = given.ipv4_mapped or given.sixtofour or (given.teredo or (None, None))[1]
        if inner is None and given in _NAT64:
            inner = ipaddress.IPv4Address(int(given) & 0xFFFFFFFF)
        return inner or given
    return given


def _is_loopback(host: str) -> bool:
    given = _address(host)
    return host == "localhost" or (given is not None and given.is_loopback)


def _private(address: str) -> str:
    return f"{address} is no public address; webhooks go to public ones alone."


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
