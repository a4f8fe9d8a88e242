"""Which scripts a page of Gradio's may run: our own files, and those that came with the page, by their hashes.

What finds its way into a page later, by whatever somebody or a model wrote, is not among them: the browser runs no
inline script and no handler attribute of it. `unsafe-eval` stays, since Gradio makes functions of an event's `js`.
Called by `doorkeeper.py`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

PAGES = frozenset({"/", "/console/", "/copilot/"})
"""Gradio's; others have no inline scripts. Their own files come by address (`gradio_pages.py`)."""
INLINE = re.compile(rb"<script[^>]*>(?P<text>.*?)</script>", re.S | re.I)
OTHERS = (
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "object-src 'none'",
)


def policy(*scripts: str) -> str:
    """A content security policy with these sources of scripts beside our own files."""
    return "; ".join(("default-src 'self'", " ".join(("script-src 'self' 'unsafe-eval'", *scripts)), *OTHERS))


def policy_of(page: bytes) -> str:
    """The policy under which a page's own inline scripts run, and no others."""
    inline = (found["text"] for found in INLINE.finditer(page) if found["text"].strip())
    return policy(*dict.fromkeys(_hash(script) for script in inline))


class PagePolicy:
    """Holds one response back until it is whole where it is a page, and gives it its policy."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._start: dict[str, Any] | None = None
        self._body = b""

    async def send(self, message: Any) -> None:
        """A part of the response."""
        if message["type"] == "http.response.start" and _is_page(message["headers"]):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                told = (b"content-security-policy", policy_of(self._body).encode())
                await self._send({**self._start, "headers": [*self._start["headers"], told]})
                await self._send({"type": "http.response.body", "body": self._body})


def _is_page(headers: Any) -> bool:
    found = {name.lower(): value for name, value in headers}
    plain = b"content-encoding" not in found and b"content-security-policy" not in found
    return plain and found.get(b"content-type", b"").startswith(b"text/html")


def _hash(script: bytes) -> str:
    """As browsers take it: of the text with its line ends as the HTML standard has them."""
    text = script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
