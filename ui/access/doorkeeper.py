"""Every request comes by here first: its Host and Origin, who asks, how much it sends, and the security headers.

A host is this machine's loopback, or one that the setting `hosts` names. Who may use a route stands in `doors.py`.
ASGI; wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ui.access.doors import is_secure, judge, shows_something
from ui.access.login import login_address
from ui.access.page_policy import PAGES, PagePolicy, policy
from ui.access.people import People

MIB = 1024 * 1024
BODY_BYTES = {
    "/v1": 2 * MIB,
    "/api/knowledge/": 64 * MIB,
    "/api": MIB,
    "/mcp": MIB,
    "/widget": MIB,
    "/gradio_api/upload": 6 * MIB,  # an attached document and what is around it
    "/login": MIB,
    "/logout": MIB,
    "/setup": MIB,
}
"""Most that is read of a request's body, by where it goes; Gradio's pages have limits of their own."""
DRAINED_BYTES = 16 * MIB
"""So much more is read and thrown away before a body is refused: whoever still sends would not hear the answer."""
DRAIN_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""A body of which nothing came for so long is not waited for any longer."""
HOST = re.compile(r"(?P<name>\[[0-9a-f:]+\]|[a-z0-9.-]+)(:(?P<port>[0-9]{1,5}))?", re.I)
"""A Host header: a name or an address (IPv6 in brackets), and a port."""
OTHERS = "/widget/"
"""Below it stand pages of other hosts; their origins are asked for by the widget's own door."""
FRAMED = ("/widget/frame/", "/widget/preview/")
"""Pages that may stand in a frame; whose, their own policy says."""
FIXED = ("X-Frame-Options", "X-Content-Type-Options", "Permissions-Policy", "Strict-Transport-Security")
"""Headers that no page may set otherwise; a policy of its own it may."""
HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all a browser posts "Log out" from nowhere, which is refused
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
TRANSPORT = {"Strict-Transport-Security": "max-age=31536000"}
"""For whoever came by https: only so, for a year. Of this host alone: others of its domain are not ours to bind."""


class OwnPagesAlone(CORSMiddleware):
    """No other origin may read anything; there so that Gradio, which reflects any origin by itself, leaves it to us.

    Below `OTHERS` the widget's own door says which origins may.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope.get("path", "").startswith(OTHERS):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Doorkeeper:
    """Refuses a foreign Host or Origin and whoever may not use a route; puts the security headers on every response."""

    def __init__(self, app: Any, port: int, people: People, hosts: Collection[str], anonymous: bool = True) -> None:
        self._app = app
        self._anonymous = anonymous
        self._port = port
        self._people = people
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, origin, secure = scope["path"], headers.get("origin", "").lower(), is_secure(scope)
        if not self._is_own(headers.get("host", "").lower(), "" if path.startswith(OTHERS) else origin):
            await _refuse(send, scope["type"])
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.decode("latin-1").title() for name, _ in message["headers"]}
                kept = [(name, value) for name, value in message["headers"] if name.decode().title() not in FIXED]
                added = {name: value for name, value in HEADERS.items() if name in FIXED or name not in given}
                if path.startswith(FRAMED):
                    del added["X-Frame-Options"]
                if secure:  # to us, or to a proxy whose word the setting `proxies` takes
                    added |= TRANSPORT
                lines = kept + [(name.encode(), value.encode()) for name, value in added.items()]
                message["headers"] = [_secured(line) for line in lines] if secure else lines
            await send(message)

        asked = (self._people, path, headers, self._anonymous, secure)
        verdict = await asyncio.to_thread(judge, *asked) if shows_something(headers) else judge(*asked)
        if not verdict.allowed:
            await _turn_away(scope, headers, verdict.known, with_headers)
            return
        scope["rungs.who"] = verdict.who
        most = next((most for path, most in BODY_BYTES.items() if scope["path"].startswith(path)), None)
        if most and scope["type"] == "http":
            await Body(receive, with_headers, most).serve(self._app, scope, headers.get("content-length", ""))
        else:
            await self._app(scope, receive, PagePolicy(with_headers).send if path in PAGES else with_headers)

    def _is_own(self, host: str, origin: str) -> bool:
        """True for a Host that is served, asked from nowhere or from a page of the same host."""
        named = HOST.fullmatch(host)
        if named is None:
            return False
        name = named["name"].strip("[]")
        if name in self._hosts:
            return origin in ("", f"https://{host}", f"http://{host}")
        return is_loopback(name) and int(named["port"] or 80) == self._port and origin in ("", f"http://{host}")


def is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and ::1: what is served without accounts."""
    try:
        return host.lower() == "localhost" or ("%" not in host and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def _secured(line: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A header; a cookie of whoever set it never travels without encryption again."""
    name, value = line
    if name.lower() != b"set-cookie" or re.search(rb";\s*secure\s*(;|$)", value, re.I):
        return line
    return name, value + b"; Secure"


async def _turn_away(scope: Any, headers: dict[str, str], known: bool, send: Any) -> None:
    """Send a person to the login page; tell a program what it lacks."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    if not known and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        await _answer(send, 303, b"", "text/plain", location=login_address(scope["path"]))
        return
    status = 403 if known else 401
    told = "you may not do that" if known else "log in, or send a key: Authorization: Bearer rk-..."
    error = {"message": told, "type": "authentication_error", "param": None, "code": "forbidden" if known else "no_key"}
    await _answer(send, status, json.dumps({"error": error}).encode(), "application/json")


async def _answer(send: Any, status: int, body: bytes, kind: str, **headers: str) -> None:
    told = {"content-type": kind, "content-length": str(len(body)), **headers}
    lines = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


class Body:
    """A request whose body is read up to a limit, and no longer than it keeps coming."""

    def __init__(self, receive: Any, send: Any, most: int) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._seen = 0
        self._whole = False
        self._refused = 0
        self._answered = False

    async def serve(self, app: Any, scope: Any, declared: str) -> None:
        """Let the application answer, or refuse."""
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > self._most:
            await self._drain()
            await self._refuse(413)
            return
        with suppress(_Refused):  # where nobody inside made an answer of it
            await app(scope, self._bounded, self._told)
        if self._refused and not self._answered:
            await self._refuse(self._refused)

    async def _bounded(self) -> Any:
        if self._whole:
            return await self._receive()  # waits for the client to leave
        try:
            message = await asyncio.wait_for(self._receive(), SILENCE_SECONDS)
        except TimeoutError:
            self._refused = 408
            raise _Refused(408, "nothing more of the request's body came") from None
        self._seen += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._seen > self._most:
            self._refused = 413
            await self._drain()
            raise _Refused(413, "the request's body is too large")
        return message

    async def _told(self, message: Any) -> None:
        if not self._refused or self._answered:
            self._answered = self._answered or message["type"] == "http.response.start"
            await self._send(message)

    async def _refuse(self, status: int) -> None:
        self._answered = True
        words = f"at most {self._most:,} bytes are read here" if status == 413 else "the request's body did not come"
        code = "too_large" if status == 413 else "too_slow"
        error = {"message": words, "type": "invalid_request_error", "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        await _answer(self._send, status, body, "application/json", connection="close")

    async def _drain(self) -> None:
        async def rest() -> None:
            thrown = 0
            while not self._whole and thrown < DRAINED_BYTES:
                message = await self._receive()
                thrown += len(message.get("body", b""))
                self._whole = not message.get("more_body", False)

        with suppress(TimeoutError):
            await asyncio.wait_for(rest(), DRAIN_SECONDS)


class _Refused(HTTPException):
    """Ends whoever reads a body that is refused; what they answer to it is replaced."""


async def _refuse(send: Any, kind: str) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b"This address is not served here. Open the one that `rungs serve` printed.\n"
    await _answer(send, 421, body, "text/plain; charset=utf-8")
