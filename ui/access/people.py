"""Who there is: accounts with a role and a password, their sessions, and keys for programs.

As long as there is no account, whoever reaches this machine's loopback is the owner; the first account made is an
owner's, and from then on everybody logs in. Secrets are shown once and kept as hashes. Decides nothing about routes:
that is `doors.py`. Called by the server and the commands.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from assistant.errors import AssistantError
from knowledge.database import migrate, reading, writing
from knowledge.errors import KnowledgeError
from ui.access.people_tables import accounts, keys, sessions

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version_ui"
Role = Literal["visitor", "user", "agent", "owner"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what the ones before it may."""
Scope = Literal["ask", "knowledge", "conversations", "adapters", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
PASSWORD_LEAST, PASSWORD_MOST = 10, 1000
"""Characters; NIST SP 800-63B asks for length and forbids rules about kinds of characters."""
SESSION_SECONDS = 12 * 3600.0
"""A session is over then, however busy it was."""
IDLE_SECONDS = 2 * 3600.0
"""A session of which nothing was heard for so long is over; a page that is open is heard of."""
SEEN_SECONDS = 60.0
"""A session's last request is noted no more often than this."""
SECRET_BYTES = 32
LOOK_SECONDS = 1.0
"""How long nobody is taken for there still being nobody; an account made in this process is seen at once."""
_INHABITED: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Databases that are known to have accounts; the last owner cannot be removed, so they stay so."""
KEY_PREFIX = "rk-"


@dataclass(frozen=True, slots=True)
class Account:
    """A person."""

    name: str
    role: Role
    made_at: str


@dataclass(frozen=True, slots=True)
class Key:
    """A program's key, without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    made_by: str
    made_at: str


class People:
    """Accounts, sessions and keys in SQL. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        """Bring the tables up to date."""
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self._engine = engine
        self._looked = -LOOK_SECONDS

    # accounts

    @property
    def any(self) -> bool:
        """Whether there are accounts, so that people must log in; what another process made is seen within a second."""
        now = time.monotonic()
        if self._engine not in _INHABITED and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if self.count():
                _INHABITED.add(self._engine)
        return self._engine in _INHABITED

    def count(self) -> int:
        """How many accounts there are."""
        with reading(self._engine) as connection:
            return int(connection.scalar(select(func.count()).select_from(accounts)) or 0)

    def add(self, name: str, role: Role, password: str) -> Account:
        """Make an account; the first one must be an owner's.

        Raises:
            AssistantError: the name or the password will not do, the name is taken, or the first is no owner's.
        """
        name = name.strip().lower()
        if not NAME.fullmatch(name):
            raise AssistantError(
                f"{name[:64]!r} is no name for an account: small letters, digits and ._@+- please, at most 64."
            )
        if role not in ROLES[1:]:
            raise AssistantError(f"there is no role {role!r}; there are {', '.join(ROLES[1:])}.")
        account = Account(name, role, _now())
        hashed = _hashed(password)
        try:
            with writing(self._engine) as connection:
                if role != "owner" and not connection.scalar(select(func.count()).select_from(accounts)):
                    raise AssistantError("the first account must be an owner's: rungs accounts create-owner NAME")
                row = {"name": name, "role": role, "password": hashed, "made_at": account.made_at}
                connection.execute(insert(accounts), row)
        except IntegrityError as error:
            raise AssistantError(f"there is an account {name} already.") from error
        _INHABITED.add(self._engine)
        return account

    def accounts(self) -> tuple[Account, ...]:
        """Everybody, in the order they came."""
        query = select(accounts.c.name, accounts.c.role, accounts.c.made_at).order_by(accounts.c.number)
        with reading(self._engine) as connection:
            return tuple(Account(*row) for row in connection.execute(query))

    def set_password(self, name: str, password: str) -> None:
        """Change a password; every session of the account ends.

        Raises:
            AssistantError: there is no such account, or the password will not do.
        """
        hashed = _hashed(password)
        with writing(self._engine) as connection:
            same = accounts.c.name == name
            if not connection.execute(update(accounts).where(same).values(password=hashed)).rowcount:
                raise AssistantError(f"there is no account {name!r}.")
            connection.execute(delete(sessions).where(sessions.c.account == name))

    def set_role(self, name: str, role: Role) -> None:
        """Change what somebody may do, from their next request on.

        Raises:
            AssistantError: there is no such account or role, or it is the last owner's.
        """
        if role not in ROLES[1:]:
            raise AssistantError(f"there is no role {role!r}; there are {', '.join(ROLES[1:])}.")
        with writing(self._engine) as connection:
            if role != "owner":
                _check_owner_stays(connection, name)
            same = accounts.c.name == name
            if not connection.execute(update(accounts).where(same).values(role=role)).rowcount:
                raise AssistantError(f"there is no account {name!r}.")

    def remove(self, name: str) -> None:
        """Remove an account and its sessions.

        Raises:
            AssistantError: there is no such account, or it is the last owner's.
        """
        with writing(self._engine) as connection:
            _check_owner_stays(connection, name)
            connection.execute(delete(sessions).where(sessions.c.account == name))
            connection.execute(delete(accounts).where(accounts.c.name == name))

    # sessions

    def log_in(self, name: str, password: str) -> str | None:
        """A session's secret for the right password; None otherwise, after the same time."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(accounts.c.name, accounts.c.password).where(accounts.c.name == name.strip().lower())
            ).first()
        hashed = row.password if row and row.password else _NOBODY  # who comes by a provider has no password
        if not _verified(hashed, password) or row is None:
            return None
        return self._begun(row.name)

    def _begun(self, name: str) -> str:
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = time.time()
        with writing(self._engine) as connection:
            connection.execute(delete(sessions).where(or_(sessions.c.ends < now, sessions.c.seen < now - IDLE_SECONDS)))
            fresh = {"hash": _digest(secret), "account": name, "ends": now + SESSION_SECONDS, "seen": now}
            connection.execute(insert(sessions), fresh)
        return secret

    def log_in_by(self, identity: str, wanted: str, role: Role) -> str:
        """A session for somebody whom an identity provider knows; their account is made at their first login.

        Args:
            identity: the provider's issuer and subject.
            wanted: what they are called there; a name that somebody has already gets a number.
            role: what they may do from now on.

        Raises:
            AssistantError: the first account must be an owner's.
        """
        with writing(self._engine) as connection:
            same = accounts.c.identity == identity
            name = connection.scalar(select(accounts.c.name).where(same))
            if name is None:
                if role != "owner" and not connection.scalar(select(func.count()).select_from(accounts)):
                    raise AssistantError("the first account must be an owner's: rungs accounts create-owner NAME")
                name = _free(connection, wanted)
                row = {"name": name, "role": role, "password": "", "made_at": _now(), "identity": identity}
                connection.execute(insert(accounts), row)
            else:
                connection.execute(update(accounts).where(same).values(role=role))
        return self._begun(name)

    def who(self, secret: str) -> Account | None:
        """Whose session it is; None where it is none, or over. That it was asked is noted."""
        now, same = time.time(), sessions.c.hash == _digest(secret)
        query = (
            select(accounts.c.name, accounts.c.role, accounts.c.made_at, sessions.c.seen)
            .join(sessions, sessions.c.account == accounts.c.name)
            .where(same, sessions.c.ends > now, sessions.c.seen > now - IDLE_SECONDS)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.seen < now - SEEN_SECONDS:
            with (
                suppress(KnowledgeError),
                writing(self._engine, wait_seconds=1) as connection,
            ):  # a full disk bars nobody
                connection.execute(update(sessions).where(same).values(seen=now))
        return Account(row.name, row.role, row.made_at)

    def log_out(self, secret: str, everywhere: bool = False) -> None:
        """End a session, or every one of whose it is."""
        same = sessions.c.hash == _digest(secret)
        if everywhere:
            same = sessions.c.account == select(sessions.c.account).where(same).scalar_subquery()
        with writing(self._engine) as connection:
            connection.execute(delete(sessions).where(same))

    def log_out_all(self, name: str) -> int:
        """End every session of an account, as after a lost computer. Returns how many there were.

        Raises:
            AssistantError: there is no such account.
        """
        with writing(self._engine) as connection:
            if connection.scalar(select(accounts.c.name).where(accounts.c.name == name)) is None:
                raise AssistantError(f"there is no account {name!r}.")
            return connection.execute(delete(sessions).where(sessions.c.account == name)).rowcount

    # keys

    def add_key(self, name: str, scopes: Iterable[Scope], by: str) -> tuple[Key, str]:
        """Make a key; its secret is in nobody's hands but the caller's.

        Raises:
            AssistantError: it has no name, or a scope that there is not.
        """
        wanted = tuple(dict.fromkeys(scopes))
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise AssistantError(f"scopes are {', '.join(SCOPES)}; not {', '.join(unknown) or 'none'}.")
        name = " ".join(name.split())[:100]
        if not name:
            raise AssistantError("a key needs a name, so that people know later what it is for.")
        secret = KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        key = Key(secrets.token_hex(6), name, wanted, by, _now())
        row = {"id": key.id, "hash": _digest(secret), "name": name, "scopes": " ".join(wanted)}
        with writing(self._engine) as connection:
            connection.execute(insert(keys), {**row, "made_by": by, "made_at": key.made_at})
        return key, secret

    def all_keys(self) -> tuple[Key, ...]:
        """All keys."""
        with reading(self._engine) as connection:
            return tuple(_key(row) for row in connection.execute(select(keys).order_by(keys.c.number)))

    def key_of(self, secret: str) -> Key | None:
        """The key that a program shows; None where there is none."""
        with reading(self._engine) as connection:
            row = connection.execute(select(keys).where(keys.c.hash == _digest(secret))).first()
        return _key(row) if row else None

    def revoke(self, id: str) -> None:
        """Take a key back, at once.

        Raises:
            AssistantError: there is no such key.
        """
        with writing(self._engine) as connection:
            if not connection.execute(delete(keys).where(keys.c.id == id)).rowcount:
                raise AssistantError(f"there is no key {id!r}. `rungs keys list` shows them.")


def _check_owner_stays(connection: Connection, name: str) -> None:
    """That somebody would still be an owner without this account.

    Raises:
        AssistantError: there is no such account, or it is the last owner's.
    """
    role = connection.scalar(select(accounts.c.role).where(accounts.c.name == name))
    if role is None:
        raise AssistantError(f"there is no account {name!r}.")
    owners = connection.scalar(select(func.count()).select_from(accounts).where(accounts.c.role == "owner"))
    if role == "owner" and owners == 1:
        raise AssistantError(f"{name} is the last owner. Make another one first.")


def _free(connection: Connection, wanted: str) -> str:
    """A name like the wanted one that nobody has."""
    bare = re.sub(r"[^a-z0-9._@+-]+", "-", wanted.lower()).strip("-._@+")[:56] or "user"
    taken = set(connection.scalars(select(accounts.c.name).where(accounts.c.name.startswith(bare, autoescape=True))))
    numbered = (f"{bare}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (bare, *numbered) if name not in taken)


def _key(row: object) -> Key:
    return Key(row.id, row.name, tuple(row.scopes.split()), row.made_by, row.made_at)  # type: ignore[attr-defined]


def _hashed(password: str) -> str:
    """Argon2id with the library's defaults (RFC 9106, low memory).

    Raises:
        AssistantError: the password is too short or too long.
    """
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise AssistantError(
            f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters; a sentence is a good one."
        )
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _verified(hashed: str, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import VerificationError

    try:
        return PasswordHasher().verify(hashed, password[:PASSWORD_MOST])
    except VerificationError:
        return False


def _digest(secret: str) -> str:
    """Of a secret with 256 random bits: it needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A"
"""Of no account: a name that there is not takes as long to refuse as a wrong password."""
