"""Sites: the pages of other hosts that the widget stands on, which origins they have, and what it looks like there.

Deny by default: a site without origins is served to nobody but the owner's preview. A site's key is public and opens
nothing by itself. Called by `door.py`, the console and the commands.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Engine, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from assistant.errors import AssistantError
from knowledge.database import migrate, reading, writing
from knowledge.text import clean
from ui.access.people import MIGRATIONS, VERSION_TABLE
from ui.access.site_tables import identity_keys, sites

Algorithm = Literal["HS256", "EdDSA"]
ORIGINS_MAX = 50
KEY_BYTES, SECRET_BYTES = 9, 32
NAME = re.compile(r"[\w .-]{1,60}")


class Greeting(BaseModel):
    """What the launcher says by itself, once."""

    model_config = ConfigDict(extra="forbid")

    seconds: int = Field(15, ge=1, le=3600)
    text: str = Field(min_length=1, max_length=200)


class FormField(BaseModel):
    """What is asked before the chat begins."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    label: str = Field(min_length=1, max_length=80)
    type: Literal["text", "email"] = "text"
    required: bool = True


class Look(BaseModel):
    """How the widget looks and speaks on a site."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field("Support", min_length=1, max_length=60)
    greeting: str = Field("", max_length=300)
    """The first words; empty is the widget's own greeting, in the site's language."""
    proactive: Greeting | None = None
    suggestions: list[str] = Field(default_factory=list, max_length=6)
    form: list[FormField] = Field(default_factory=list, max_length=6)
    position: Literal["right", "left"] = "right"
    color: str = Field("#0f766e", pattern=r"^#[0-9a-fA-F]{6}$")
    theme: Literal["auto", "light", "dark"] = "auto"
    language: str = Field("en", pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$")
    texts: dict[str, str] = Field(default_factory=dict, max_length=100)


@dataclass(frozen=True, slots=True)
class Site:
    """One site."""

    key: str
    name: str
    origins: tuple[str, ...]
    """Exactly as a browser names them: `https://www.example.com`."""
    look: Look
    open: bool
    """Whether it is served at all."""
    made_by: str
    made_at: str


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """What a site's own server signs a visitor's identity with."""

    id: str
    site: str
    algorithm: Algorithm
    material: str
    """The shared secret of HS256, or the public key of EdDSA in PEM."""
    made_at: str


class Sites:
    """Sites in SQL. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        """Bring the tables up to date."""
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self._engine = engine

    def all(self) -> tuple[Site, ...]:
        """Every site, in the order they were made."""
        with reading(self._engine) as connection:
            return tuple(_site(row) for row in connection.execute(select(sites).order_by(sites.c.number)))

    def find(self, key: str) -> Site | None:
        """The site of a key, or of a name."""
        with reading(self._engine) as connection:
            row = connection.execute(select(sites).where((sites.c.key == clean(key)) | (sites.c.name == clean(key))))
            first = row.first()
        return _site(first) if first else None

    def add(self, name: str, origins: list[str], by: str, look: dict[str, Any] | None = None) -> Site:
        """Make a site.

        Raises:
            AssistantError: the name is taken or will not do, an origin is none, or the look is not understood.
        """
        row = {"key": f"site-{secrets.token_hex(KEY_BYTES)}", "made_by": clean(by), "made_at": _now(), "open": True}
        row |= _checked(name, origins, look or {})
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(sites), row)
        except IntegrityError as error:
            raise AssistantError(f"there is a site {name!r} already.") from error
        return self._known(str(row["key"]))

    def change(
        self, key: str, *, name: str | None = None, origins: list[str] | None = None,
        look: dict[str, Any] | None = None, open: bool | None = None,
    ) -> Site:  # fmt: skip
        """Change what is named; what is None stays.

        Raises:
            AssistantError: there is no such site, or what is wanted will not do.
        """
        before = self._known(key)
        row = _checked(
            before.name if name is None else name,
            list(before.origins) if origins is None else origins,
            before.look.model_dump() if look is None else look,
        )
        try:
            with writing(self._engine) as connection:
                changed = {**row, "open": before.open if open is None else open}
                connection.execute(update(sites).where(sites.c.key == before.key).values(**changed))
        except IntegrityError as error:
            raise AssistantError(f"there is a site {name!r} already.") from error
        return self._known(before.key)

    def remove(self, key: str) -> None:
        """Remove a site; the widget falls silent there. Conversations stay.

        Raises:
            AssistantError: there is no such site.
        """
        with writing(self._engine) as connection:
            connection.execute(delete(sites).where(sites.c.key == self._known(key).key))

    # who visitors are

    def add_identity_key(self, key: str, algorithm: Algorithm = "HS256", public_key: str = "") -> IdentityKey:
        """Let a site's server prove who a visitor is.

        Args:
            key: of the site.
            algorithm: HS256 with a secret that is made here and shown now; EdDSA with the site's public key.
            public_key: in PEM, for EdDSA.

        Raises:
            AssistantError: there is no such site, or the public key is none.
        """
        site = self._known(key)
        material = secrets.token_urlsafe(SECRET_BYTES) if algorithm == "HS256" else _public(public_key)
        fresh = IdentityKey(f"ik-{secrets.token_hex(6)}", site.key, algorithm, material, _now())
        row = {"id": fresh.id, "site": fresh.site, "algorithm": algorithm, "material": material}
        with writing(self._engine) as connection:
            connection.execute(insert(identity_keys), {**row, "made_at": fresh.made_at})
        return fresh

    def identity_keys(self, key: str) -> tuple[IdentityKey, ...]:
        """A site's keys, the oldest first."""
        query = select(identity_keys).where(identity_keys.c.site == self._known(key).key)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(identity_keys.c.made_at)).all()
        return tuple(IdentityKey(row.id, row.site, row.algorithm, row.material, row.made_at) for row in rows)

    def remove_identity_key(self, id: str) -> None:
        """Take a key back, at once.

        Raises:
            AssistantError: there is no such key.
        """
        with writing(self._engine) as connection:
            if not connection.execute(delete(identity_keys).where(identity_keys.c.id == clean(id))).rowcount:
                raise AssistantError(f"there is no identity key {id!r}.")

    def _known(self, key: str) -> Site:
        site = self.find(key)
        if site is None:
            raise AssistantError(f"there is no site {key!r}. `rungs sites list` shows them.")
        return site


def snippet(site: Site, address: str) -> str:
    """What an owner puts on their pages.

    Args:
        site: which one.
        address: where Rungs is reached: `https://support.example.com`.
    """
    return f'<script src="{address.rstrip("/")}/widget/rungs.js" data-site="{site.key}" defer></script>'


def origin_of(text: str) -> str:
    """An origin as browsers send it: scheme, host in small letters, a port that is not the scheme's own.

    Raises:
        AssistantError: it is none.
    """
    text = text.strip()
    try:
        parts = urlsplit(text if "//" in text else f"https://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    good = parts.scheme in ("http", "https") and re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:]+", host)
    if not good or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or "*" in text:
        raise AssistantError(
            f"{text[:100]!r} is no origin. Write one as the browser's address bar begins: https://www.example.com"
        )
    named = f"[{host}]" if ":" in host else host
    own = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{named}" + (f":{port}" if port and port != own else "")


def _checked(name: str, origins: list[str], look: dict[str, Any]) -> dict[str, Any]:
    name = " ".join(clean(name).split())
    if not NAME.fullmatch(name):
        raise AssistantError(f"{name[:60]!r} is no name for a site: letters, digits, space, dot and - please.")
    if len(origins) > ORIGINS_MAX:
        raise AssistantError(f"a site has at most {ORIGINS_MAX} origins; this has {len(origins)}.")
    exact = list(dict.fromkeys(origin_of(origin) for origin in origins if origin.strip()))
    try:
        looks = Look.model_validate(look)
    except ValidationError as error:
        first = error.errors()[0]
        raise AssistantError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    return {"name": name, "origins": json.dumps(exact), "look": clean(looks.model_dump_json())}


def _public(pem: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AssistantError(f"that is no public key in PEM ({error}).") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AssistantError("EdDSA needs an Ed25519 public key in PEM.")
    return pem.strip()


def _site(row: Row[Any]) -> Site:
    return Site(
        row.key, row.name, tuple(json.loads(row.origins)), Look.model_validate_json(row.look), bool(row.open),
        row.made_by, row.made_at,
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
