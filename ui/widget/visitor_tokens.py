"""Who a widget's visitor is: short-lived tokens of ours, and identities that a site's own server has signed.

A token is bound to visitor, site and origin and goes in a header, never in a cookie. An identity is a JWT by one of the
site's keys: algorithm by the key's own record, audience the site, at most an hour, each used by one browser only. An
anonymous visitor is known by a secret that their browser keeps, and is nobody else's. Called by `door.py`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from assistant.errors import AssistantError
from knowledge.database import reading, writing
from ui.access.server_secrets import kept
from ui.access.site_tables import identity_uses
from ui.widget.sites import Site, Sites

AUDIENCE = "rungs-widget"
TOKEN_SECONDS = 900
IDENTITY_SECONDS = 3600
LEEWAY_SECONDS = 60
"""Clocks of two servers differ."""
SECRET_BYTES = 24
SECRET_CHARACTERS = 200
SIGNING = "widget tokens"


class BadToken(AssistantError):
    """A token is not ours, is over, or was made for somebody else. `code` says which, for the script."""

    def __init__(self, message: str, code: str = "token") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks through a widget."""

    id: str
    """As conversations know it."""
    site: str
    """The site's key."""
    origin: str
    known: bool = False
    """Whether the site's server has proved who it is."""
    name: str = ""


class VisitorTokens:
    """Makes and reads tokens. The signing secret is in the database, so that every process reads every token."""

    def __init__(self, engine: Engine, sites: Sites) -> None:
        self._engine = engine
        self._sites = sites
        self._secret = kept(engine, SIGNING)

    def give(self, visitor: Visitor) -> str:
        """A token for a visitor, good for `TOKEN_SECONDS`."""
        import jwt

        now = int(time.time())
        claims: dict[str, Any] = {
            "sub": visitor.id,
            "site": visitor.site,
            "origin": visitor.origin,
            "name": visitor.name,
        }
        claims |= {"known": visitor.known, "aud": AUDIENCE, "iat": now, "exp": now + TOKEN_SECONDS}
        return jwt.encode(claims | {"jti": secrets.token_hex(8)}, self._secret, algorithm="HS256")

    def read(self, token: str, origin: str) -> Visitor:
        """The visitor of a token that is shown from an origin.

        Raises:
            BadToken: it is not ours, is over (`expired`), or was given to another origin.
        """
        import jwt

        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience=AUDIENCE,
                options={"require": ["sub", "exp", "aud"], "verify_iat": False},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            raise BadToken("this session is over; begin a new one.", "expired") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise BadToken("this token is not one of ours.") from error
        if claims.get("origin") != origin:
            raise BadToken("this token was given to another page.", "origin")
        return Visitor(
            str(claims["sub"]), str(claims.get("site")), origin, bool(claims.get("known")), str(claims.get("name", ""))
        )

    def anonymous(self, site: Site, origin: str, secret: str | None) -> tuple[Visitor, str]:
        """A visitor by the secret that their browser kept; a new one where there is none. Returns the secret, too."""
        good = isinstance(secret, str) and len(secret) >= SECRET_BYTES and len(secret) <= SECRET_CHARACTERS
        kept = secret if good and secret else secrets.token_urlsafe(SECRET_BYTES)
        return Visitor(f"widget {site.key} {_digest(kept)[:32]}", site.key, origin), kept

    def identified(self, site: Site, origin: str, identity: str, secret: str) -> Visitor:
        """The visitor whom a site's server has proved.

        Args:
            site: whose keys count.
            origin: of the page.
            identity: the signed JWT.
            secret: of the browser that shows it; the same JWT from another one is a replay.

        Raises:
            BadToken: it is forged, over, too long-lived, for another site, or was used elsewhere.
        """
        claims = self._proved(site, identity)
        ends = float(claims["exp"])
        if ends > time.time() + IDENTITY_SECONDS + LEEWAY_SECONDS:
            raise BadToken("an identity may be good for an hour at most.", "identity")
        self._used_here_alone(site, str(claims["jti"]), secret, ends)
        name = str(claims.get("name", ""))[:80]
        return Visitor(f"widget {site.key} user {_digest(str(claims['sub']))[:32]}", site.key, origin, True, name)

    def _proved(self, site: Site, identity: str) -> dict[str, Any]:
        import jwt

        try:
            kid = jwt.get_unverified_header(identity).get("kid")
            key = next((key for key in self._sites.identity_keys(site.key) if key.id == kid), None)
            if key is None:
                raise BadToken("the identity names no key of this site (its header's kid).", "identity")
            return dict(
                jwt.decode(
                    identity, key.material, algorithms=[key.algorithm], audience=site.key, leeway=LEEWAY_SECONDS,
                    options={"require": ["sub", "exp", "aud", "jti"]},
                )
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise BadToken(f"the identity cannot be believed: {error}.", "identity") from error

    def _used_here_alone(self, site: Site, jti: str, secret: str, ends: float) -> None:
        digest, visitor = _digest(f"{site.key} {jti}"), _digest(secret)
        row = {"digest": digest, "visitor": visitor, "ends": ends + LEEWAY_SECONDS}
        try:
            with writing(self._engine) as connection:
                connection.execute(delete(identity_uses).where(identity_uses.c.ends < time.time()))
                connection.execute(insert(identity_uses), row)
        except IntegrityError as error:
            with reading(self._engine) as connection:
                by = connection.scalar(select(identity_uses.c.visitor).where(identity_uses.c.digest == digest))
            if by != visitor:
                raise BadToken("this identity was used by another browser.", "identity") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
