"""Logging in by OpenID Connect: the code flow with PKCE, state and nonce (Authlib), then a session of our own.

Who somebody is says the identity provider; what they may do say the owner's `oidc_roles`, anew at every login. Such an
account has no password and takes over no other. Anything about a login that cannot be proved ends on the login page,
and the log says why. Wired by `server.py` where the settings name a provider.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Route

from assistant.errors import AssistantError
from ui.access.login import entered, login_page_html
from ui.access.people import ROLES, People, Role
from ui.access.server_secrets import kept

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from assistant.settings import Settings

PATH = "/login/oidc"
STATE_COOKIE = "rungs-login"
STATE_SECONDS = 600
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Asymmetric ones alone: nobody signs with what the provider publishes."""
UNPROVED = "That login could not be verified. Try again; if it happens again, the owner finds the reason in the log."
log = logging.getLogger(__name__)


class Provider:
    """The identity provider that the settings name."""

    def __init__(self, settings: Settings, people: People) -> None:
        from authlib.integrations.starlette_client import OAuth

        self._settings = settings
        self._people = people
        issuer = settings.oidc_issuer.rstrip("/")
        self._client = OAuth().register(
            "provider",
            client_id=settings.oidc_client,
            client_secret=settings.oidc_secret or None,
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "timeout": 10},
        )

    async def begin(self, request: Request) -> Response:
        """Off to the provider."""
        request.session["next"] = request.query_params.get("next", "/")[:500]
        back = str(request.base_url).rstrip("/") + f"{PATH}/back"
        try:
            await self._metadata()
            answer: Response = await self._client.authorize_redirect(request, back)
            return answer
        except Exception:
            log.exception("the identity provider cannot be reached")
            return login_page_html(problem="The identity provider does not answer. Try again in a minute.", status=503)

    async def back(self, request: Request) -> Response:
        """Back from the provider, with a code that proves who it is."""
        wanted = str(request.session.pop("next", "/"))
        try:
            claims = await self._claims(request)
            secret = await asyncio.to_thread(self._entered, claims)
        except AssistantError as error:
            return login_page_html(problem=str(error), status=403)
        except Exception as error:  # whatever a provider, or somebody who plays one, may send
            log.warning("a login by OpenID Connect was refused: %s: %s", type(error).__name__, error)
            return login_page_html(problem=UNPROVED, status=401)
        finally:
            request.session.clear()
        return await entered(request, self._people, secret, wanted)

    async def _claims(self, request: Request) -> Mapping[str, Any]:
        metadata = await self._metadata()
        options = {
            "iss": {"essential": True, "values": [metadata["issuer"]]},
            "aud": {"essential": True, "value": self._settings.oidc_client},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "iat": {"essential": True},
            "nonce": {"essential": True},
        }
        token = await self._client.authorize_access_token(request, claims_options=options)
        claims: Mapping[str, Any] | None = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise ValueError("the provider sent no identity token")
        return claims

    async def _metadata(self) -> Mapping[str, Any]:
        """What the provider publishes about itself; only algorithms that prove something are left in it.

        Raises:
            ValueError: it calls itself by another name than the settings do.
        """
        metadata: dict[str, Any] = await self._client.load_server_metadata()
        if str(metadata.get("issuer", "")).rstrip("/") != self._settings.oidc_issuer.rstrip("/"):
            raise ValueError(f"the provider calls itself {metadata.get('issuer')!r}")
        said = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in said if name in ALGORITHMS] or ["RS256"]
        return metadata

    def _entered(self, claims: Mapping[str, Any]) -> str:
        role = role_of(claims, self._settings.oidc_roles)
        if role is None:
            raise AssistantError("Your account at the identity provider has no role here. Ask the owner for one.")
        email = claims.get("email") if claims.get("email_verified") is True else None
        wanted = str(claims.get("preferred_username") or email or claims.get("name") or "user")
        return self._people.log_in_by(f"{claims['iss']} {claims['sub']}", wanted, role)


def role_of(claims: Mapping[str, Any], roles: Mapping[str, str]) -> Role | None:
    """What somebody may do: the highest role that the owner gave to their e-mail, a group or a role of theirs.

    The entry `default` is for everybody else; without one they are users, and an empty one lets nobody else in.
    """
    said = [value for name in ("groups", "roles") if isinstance(claims.get(name), list) for value in claims[name]]
    if claims.get("email_verified") is True:
        said.append(claims.get("email"))
    found = [roles[value] for value in said if isinstance(value, str) and value in roles and value != "default"]
    found = found or [roles.get("default", "user")]
    known: list[Role] = [role for role in ROLES if role in found and role != "visitor"]
    return known[-1] if known else None


def add_oidc(app: FastAPI, engine: Engine, settings: Settings, people: People) -> None:
    """The routes; what a login needs to remember meanwhile is in a signed cookie of their own."""
    provider = Provider(settings, people)
    remembering = Middleware(
        SessionMiddleware,
        secret_key=kept(engine, "login state"),
        session_cookie=STATE_COOKIE,
        max_age=STATE_SECONDS,
        path=PATH,
        same_site="lax",
    )
    routes = [Route("/", provider.begin), Route("/back", provider.back)]
    app.add_route(PATH, lambda request: RedirectResponse(f"{PATH}/?{request.url.query}"), include_in_schema=False)
    app.mount(PATH, Starlette(routes=routes, middleware=[remembering]))
