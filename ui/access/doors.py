"""Who may use which route. Every route stands here, Gradio's by the page that it belongs to.

Where there are no accounts yet, this machine's loopback is the owner's and every door is open to it. A person comes
with a session cookie, a program with a key. Knows no page. Called by `server.py` for every request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal

from ui.access.people import KEY_PREFIX, ROLES, Account, Key, People, Role, Scope

COOKIE = "rungs-session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""By https: a browser takes a cookie of this name from this very host alone, and only by https (RFC 6265bis)."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who may use the routes below a path."""

    path: str
    """The route itself and everything below it."""
    role: Role
    """The least role of a person."""
    scope: Scope | Literal["any"] | None = None
    """What a program's key must be for; None: no key opens it."""
    whole: bool = False
    """Only the path itself."""


DOORS = (
    Door("/healthz", "visitor", whole=True),
    Door("/readyz", "visitor", whole=True),
    Door("/metrics", "owner", "metrics", whole=True),
    Door("/login", "visitor", whole=True),
    Door("/login/oidc", "visitor"),
    Door("/logout", "visitor", whole=True),
    Door("/setup", "visitor", whole=True),
    Door("/own", "visitor"),
    Door("/control", "visitor"),  # has a secret of its own: server.json's token
    Door("/live/desk", "agent", whole=True),
    Door("/live/conversation", "visitor"),  # a visitor's secret opens their own conversation
    Door("/widget/preview", "owner"),
    Door("/widget", "visitor"),  # a site's exact origins and a visitor's token stand behind it (`widget/door.py`)
    Door("/v1", "user", "ask"),
    Door("/mcp", "user", "ask", whole=True),
    Door("/openapi.json", "user", "any", whole=True),
    Door("/api/feedback", "user", "ask"),
    Door("/api/knowledge", "owner", "knowledge"),
    Door("/api/conversations", "owner", "conversations"),
    Door("/api/adapters", "owner", "adapters"),
    Door("/api/corrections", "owner", "adapters"),
    Door("/api/webhooks", "owner"),  # no key: a program could have everything sent to itself
    Door("/api", "owner"),  # what there is not
    Door("/console", "owner"),
    Door("/copilot", "agent"),
    Door("/", "visitor"),  # the chat page and what it loads
)

CHAT = ("/", "/live/conversation")
"""The chat page's doors."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass."""

    allowed: bool
    who: Account | Key | None = None
    known: bool = False
    """Whether somebody known asks, who may not do this."""


def door_of(path: str) -> Door:
    """The door of a path: the first that it lies behind."""
    return next(door for door in DOORS if _lies_behind(path, door))


def judge(
    people: People, path: str, headers: Mapping[str, str], anonymous: bool = True, secure: bool = False
) -> Verdict:
    """Whether a request may use a path.

    Args:
        people: who there is.
        path: of the request.
        headers: by lower-case name.
        anonymous: whether the chat page is open to who has not logged in.
        secure: whether it came by https.
    """
    door = door_of(path)
    role: Role = "user" if door.path in CHAT and not anonymous else door.role
    if role == "visitor" and not shows_something(headers):
        return Verdict(True)
    who = None
    if people.any:
        who = _person(people, headers, secure) or _program(people, headers)
    if role == "visitor" or not people.any:
        return Verdict(True, who)
    if isinstance(who, Key):
        return Verdict(door.scope == "any" or door.scope in who.scopes, who, known=True)
    if who is None:
        return Verdict(False)
    return Verdict(ROLES.index(who.role) >= ROLES.index(role), who, known=True)


def shows_something(headers: Mapping[str, str]) -> bool:
    """Whether a request carries anything that could say who asks; looking that up takes the database."""
    return COOKIE in headers.get("cookie", "") or f"bearer {KEY_PREFIX}" in headers.get("authorization", "").lower()


def is_secure(scope: Mapping[str, Any]) -> bool:
    """Whether a request came by https, to ourselves or to a proxy that the settings name."""
    return scope.get("scheme") in ("https", "wss")


def cookie_of(secure: bool) -> str:
    """The name of the session's cookie."""
    return SECURE_COOKIE if secure else COOKIE


def secret_of(headers: Mapping[str, str], secure: bool) -> str:
    """The session's secret in a request's cookies; empty where there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(cookie_of(secure))
    except CookieError:
        return ""
    return found.value if found else ""


def _person(people: People, headers: Mapping[str, str], secure: bool) -> Account | None:
    secret = secret_of(headers, secure)
    return people.who(secret) if secret else None


def _program(people: People, headers: Mapping[str, str]) -> Key | None:
    kind, _, secret = headers.get("authorization", "").partition(" ")
    return people.key_of(secret) if kind.lower() == "bearer" and secret.startswith(KEY_PREFIX) else None


def _lies_behind(path: str, door: Door) -> bool:
    if door.whole:
        return path == door.path
    return path == door.path or path.startswith(door.path.rstrip("/") + "/")
