"""The content security policy of Gradio's pages: their inline scripts are allowed by hash, one by one.

Whatever comes into a page later (a visitor's words, a document, a model's answer) can therefore bring no script along:
no inline script, no `onerror=`, no `javascript:` address. Two exceptions are Gradio's and stay: it compiles the `js` of
its events from text, which needs 'unsafe-eval', and it styles elements one by one ('unsafe-inline', for styles alone).

ASGI, inside the doorkeeper, which puts its own policy on everything that has none. Wired by `server.py`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

INLINE = re.compile(rb"<script(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script", re.S | re.I)
REST = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "object-src 'none'",
    )
)
"""What every page keeps to, scripts aside."""
POLICY = f"{REST}; script-src 'self'"
"""Of what is no page of Gradio's."""


class ScriptHashes:
    """ASGI: a page of HTML without a policy gets one that names the hashes of exactly the scripts in it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Any = None
        page = bytearray()

        async def told(message: Any) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message["headers"]):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:  # the page is held back until it is whole: its hashes stand before it
                page.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    policy = (b"content-security-policy", policy_of(bytes(page)).encode())
                    await send({**start, "headers": [*start["headers"], policy]})
                    await send({**message, "body": bytes(page)})

        await self._app(scope, receive, told)


def policy_of(page: bytes) -> str:
    """A policy under which a page's own inline scripts run, and no others."""
    hashes = dict.fromkeys(_hash(script) for script in INLINE.findall(page))
    return f"{REST}; script-src 'self' 'unsafe-eval' {' '.join(hashes)}".rstrip()


def _hash(script: bytes) -> str:
    """As a browser sees it: HTML knows one kind of line end."""
    seen = script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(seen).digest()).decode()}'"


def _is_page(headers: Any) -> bool:
    given = {name.lower(): value for name, value in headers}
    is_html = given.get(b"content-type", b"").startswith(b"text/html")
    return is_html and b"content-security-policy" not in given
