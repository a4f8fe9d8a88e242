"""The pages to log in, to log out, and to make the first owner by the link that the first start prints.

Plain forms without a script, under a policy that allows none. Who may do what is decided by `doors.py`. Wired by
`server.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import secrets
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from assistant.errors import AssistantError
from ui.access.doors import cookie_of, is_secure, secret_of
from ui.access.people import PASSWORD_LEAST, SESSION_SECONDS, People

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
TRIES = "10/minute"
"""Attempts to log in from one address."""
WRONG = "That name and password do not belong together."
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="/own/login.css"><link rel="icon" href="/own/icon.svg"></head>'
    "<body><main><h1>{title}</h1>{body}</main></body></html>"
)


class SetUp:
    """The one-time link by which the first owner is made, as long as there is none."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.token = "" if people.any else secrets.token_urlsafe(24)

    def opens(self, token: str) -> bool:
        """Whether a token is the link's, and the link is still good."""
        good = bool(self.token) and not self._people.any
        return good and hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())


def add_login(app: FastAPI, people: People, set_up: SetUp, provider: str = "") -> None:
    """The routes.

    Args:
        app: gets them.
        people: who there is.
        set_up: the first owner's link.
        provider: what the identity provider is called, where there is one.
    """
    from limits import parse
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    tries, limiter = parse(TRIES), MovingWindowRateLimiter(MemoryStorage())

    async def login_page(next: str = "/console/") -> HTMLResponse:
        return _page("Log in", _form(next) + _elsewhere(provider, next))

    async def log_in(
        request: Request, name: str = Form(max_length=200), password: str = Form(max_length=2000),
        next: str = Form("/console/"),
    ) -> Response:  # fmt: skip
        address = request.client.host if request.client else ""
        if not limiter.hit(tries, "login", address):
            return _page("Log in", _form(next, name, "Too many attempts. Wait a minute."), 429)
        secret = await asyncio.to_thread(people.log_in, name, password)
        if secret is None:
            return _page("Log in", _form(next, name, WRONG), 401)
        return await entered(request, people, secret, next)

    async def log_out(request: Request, everywhere: bool = Form(False)) -> Response:
        secure = is_secure(request.scope)
        await asyncio.to_thread(people.log_out, secret_of(request.headers, secure), everywhere)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_of(secure), secure=secure, httponly=True, samesite="lax")
        return answer

    async def set_up_page(token: str = "") -> HTMLResponse:
        if not set_up.opens(token):
            return _page("Set up", f"<p>{_GONE}</p>", 403)
        return _page("Make the first owner", _set_up_form(token))

    async def set_up_owner(
        request: Request, token: str = Form(), name: str = Form(max_length=200), password: str = Form(max_length=2000)
    ) -> Response:
        if not set_up.opens(token):
            return _page("Set up", f"<p>{_GONE}</p>", 403)
        try:
            await asyncio.to_thread(people.add, name, "owner", password)
        except AssistantError as error:
            return _page("Make the first owner", _set_up_form(token, name, str(error)), 400)
        secret = await asyncio.to_thread(people.log_in, name, password)
        return await entered(request, people, secret or "", "/console/")

    app.add_api_route("/login", login_page, methods=["GET"], include_in_schema=False)
    app.add_api_route("/login", log_in, methods=["POST"], include_in_schema=False, response_model=None)
    app.add_api_route("/logout", log_out, methods=["POST"], include_in_schema=False, response_model=None)
    app.add_api_route("/setup", set_up_page, methods=["GET"], include_in_schema=False)
    app.add_api_route("/setup", set_up_owner, methods=["POST"], include_in_schema=False, response_model=None)


def login_address(path: str) -> str:
    """Where somebody is sent who must log in first."""
    return "/login?" + urlencode({"next": path})


async def entered(request: Request, people: People, secret: str, wanted: str) -> Response:
    """Into the pages, with a fresh session; the one that the browser came with is over, whoever put it there."""
    secure = is_secure(request.scope)
    before = secret_of(request.headers, secure)
    if before:
        await asyncio.to_thread(people.log_out, before)
    answer = RedirectResponse(_own(wanted), 303)
    answer.set_cookie(
        cookie_of(secure), secret, max_age=int(SESSION_SECONDS), httponly=True, samesite="lax", secure=secure
    )
    return answer


def login_page_html(next: str = "/console/", name: str = "", problem: str = "", status: int = 200) -> HTMLResponse:
    """The login page, with what went wrong."""
    return _page("Log in", _form(next, name, problem), status)


def _own(wanted: str) -> str:
    """A path of this server, whatever a link said."""
    parts = urlsplit(wanted)
    is_own = not parts.scheme and not parts.netloc and wanted.startswith("/") and "\\" not in wanted
    return wanted if is_own and not wanted.startswith("//") else "/"


_GONE = "This link is no longer good. An owner can make further accounts; the command is rungs accounts."


def _form(next: str, name: str = "", problem: str = "") -> str:
    return (
        f'{_problem(problem)}<form method="post" action="/login"><input type="hidden" name="next" '
        f'value="{html.escape(next, quote=True)}">{_name(name)}{_password("current-password")}'
        "<button>Log in</button></form>"
    )


def _elsewhere(provider: str, next: str) -> str:
    """The way to the identity provider."""
    if not provider:
        return ""
    address = html.escape(f"/login/oidc/?{urlencode({'next': next})}", quote=True)
    return f'<p class="elsewhere"><a href="{address}">Log in with {html.escape(provider)}</a></p>'


def _set_up_form(token: str, name: str = "", problem: str = "") -> str:
    return (
        f"<p>Whoever owns this Rungs manages its knowledge, its adapters and its people. The password needs at least "
        f"{PASSWORD_LEAST} characters.</p>{_problem(problem)}"
        '<form method="post" action="/setup"><input type="hidden" name="token" '
        f'value="{html.escape(token, quote=True)}">'
        f"{_name(name)}{_password('new-password')}<button>Make the owner</button></form>"
    )


def _name(name: str) -> str:
    return (
        f'<label>Name <input name="name" value="{html.escape(name, quote=True)}" autocomplete="username" required '
        "autofocus></label>"
    )


def _password(kind: str) -> str:
    return f'<label>Password <input name="password" type="password" autocomplete="{kind}" required></label>'


def _problem(text: str) -> str:
    return f'<p class="problem" role="alert">{html.escape(text)}</p>' if text else ""


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    headers: dict[str, Any] = {
        "content-security-policy": POLICY,
        "cache-control": "no-store",
        "referrer-policy": "same-origin",  # with none at all a browser posts a form from nowhere, which is refused
    }
    return HTMLResponse(PAGE.format(title=title, body=body), status, headers)
