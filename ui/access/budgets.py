"""How much may be asked: questions in a minute and tokens in a day, for each visitor, site, address and key.

Counted in SQL, so that every process of a server counts together. A window slides: of the one before, the part that
still overlaps counts as if it had been used evenly (the two-bucket counter that Cloudflare describes). Who is counted
is kept as a hash, for two days at most. `Admission` asks it for every surface that answers questions.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Engine, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from knowledge.database import migrate, writing
from ui.access.people import MIGRATIONS, VERSION_TABLE, Account, Key
from ui.access.people_tables import budgets

if TYPE_CHECKING:
    from assistant.settings import Settings

Meter = Literal["questions", "tokens"]
SECONDS: Mapping[Meter, int] = {"questions": 60, "tokens": 86_400}
WORDS: Mapping[Meter, str] = {"questions": "questions in a minute", "tokens": "tokens in a day"}
KINDS = ("visitor", "site", "address", "key")
"""What a name of somebody begins with, before a colon."""
SWEEP_SECONDS = 600.0
NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has the whole network behind these."""


class TurnedAway(Exception):
    """Not now: too much was asked, by this one or by everybody. The message is for people."""

    code = "busy"
    """For programs."""
    status = 429
    """Of the response."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds
        """When to come back."""


class Spent(TurnedAway):
    """A budget is used up."""

    code = "spent"


@dataclass(frozen=True, slots=True)
class Limit:
    """What one kind of asker may use; 0 is no limit."""

    questions: int = 0
    """In a minute."""
    tokens: int = 0
    """In a day."""


def limits_of(settings: Settings) -> dict[str, Limit]:
    """The limits that the settings name, by kind."""
    return {
        kind: Limit(getattr(settings, f"{kind}_questions_per_minute"), getattr(settings, f"{kind}_tokens_per_day"))
        for kind in KINDS
    }


def payers(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """Whose budgets a request to a program's door uses: its key's or its account's, and its address's.

    An address on this machine has no budget: it is the owner's, or a proxy's behind which everybody stands (a proxy
    that the setting `proxies` names is looked through).
    """
    who, found = scope.get("rungs.who"), []
    if isinstance(who, Key):
        found.append(f"key:{who.id}")
    elif isinstance(who, Account):
        found.append(f"visitor:account {who.name}")
    return (*found, *address_of(scope))


def address_of(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of a request's address for `take`; none where it is on this machine, or is no address."""
    try:
        address = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return ()
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            address = address.ipv4_mapped
        else:
            return () if address.is_loopback else (f"address:{int(address) >> (128 - NETWORK_BITS):x}",)
    return () if address.is_loopback else (f"address:{address}",)


class Budgets:
    """Budgets in SQL. Holds no counts itself: any number of these on one database are one. Thread-safe."""

    def __init__(self, engine: Engine, limits: Mapping[str, Limit], clock: Callable[[], float] = time.time) -> None:
        """Bring the tables up to date.

        Args:
            engine: from `open_engine`.
            limits: by kind, out of `limits_of`.
            clock: seconds since 1970; one that jumps costs or gives at most a window.
        """
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self._engine = engine
        self._limits = limits
        self._clock = clock
        self._swept = 0.0

    def take(self, *who: str) -> None:
        """One question of each of these (`visitor:…`, `site:…`, `address:…`, `key:…`): of all, or of none.

        Raises:
            Spent: one of them has used up its questions or its tokens.
        """
        now = self._clock()
        counted = [(name, limit) for name in sorted(set(who)) if (limit := self._limit(name)) != Limit()]
        if not counted:  # sorted: two processes take the same rows in the same order
            return
        with writing(self._engine) as connection:
            self._sweep(connection, now)
            for name, limit in counted:
                if limit.tokens:
                    self._check(connection, name, "tokens", limit.tokens, now)
                if limit.questions:
                    self._add(connection, name, "questions", 1, now)
                    self._check(connection, name, "questions", limit.questions, now)

    def spend(self, who: tuple[str, ...], tokens: int) -> None:
        """What an answer cost. It is given in any case; the next one is refused where the budget is used up."""
        counted = [name for name in sorted(set(who)) if self._limit(name).tokens]
        if tokens > 0 and counted:
            with writing(self._engine) as connection:
                for name in counted:
                    self._add(connection, name, "tokens", tokens, self._clock())

    def _limit(self, who: str) -> Limit:
        return self._limits.get(who.partition(":")[0], Limit())

    def _add(self, connection: Connection, who: str, meter: Meter, amount: int, now: float) -> None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        row = {"who": _hashed(who), "meter": meter, "starts": _start(now, meter), "seconds": SECONDS[meter]}
        connection.execute(
            insert(budgets)
            .values(**row, used=amount)
            .on_conflict_do_update(index_elements=["who", "meter", "starts"], set_={"used": budgets.c.used + amount})
        )  # keeps the row locked until this transaction ends: whoever counts the same one waits

    def _check(self, connection: Connection, who: str, meter: Meter, limit: int, now: float) -> None:
        """Refuse where the sliding window has no room for one more."""
        start, seconds = _start(now, meter), SECONDS[meter]
        same = (budgets.c.who == _hashed(who)) & (budgets.c.meter == meter)
        query = select(budgets.c.starts, budgets.c.used).where(same, budgets.c.starts.in_((start, start - seconds)))
        used: dict[int, int] = {starts: amount for starts, amount in connection.execute(query)}
        present, before = used.get(start, 0), used.get(start - seconds, 0)
        if meter == "questions":
            present -= 1  # the one that asks has counted itself already
        passed = (now - start) / seconds
        if present + before * (1 - passed) <= limit - 1:
            return
        wait = max(1, min(2 * seconds, math.floor(_wait(present, before, passed, limit - 1) * seconds) + 1))
        raise Spent(
            f"that was all for now: at most {limit:,} {WORDS[meter]} for each {who.partition(':')[0]}. "
            f"Come back in {wait:,} seconds.",
            wait,
        )

    def _sweep(self, connection: Connection, now: float) -> None:
        """Forget windows that are over, and those that a wrong clock put into the future."""
        if 0 <= now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        over = budgets.c.starts + 2 * budgets.c.seconds < now
        connection.execute(delete(budgets).where(or_(over, budgets.c.starts > now + 2 * budgets.c.seconds)))


def _wait(present: int, before: int, passed: float, most: int) -> float:
    """How long until the window holds no more than `most`, in lengths of a window."""
    if present <= most:  # what is left of the window before must shrink
        return 1 - (most - present) / before - passed
    return 1 - passed + (1 - most / present)


def _start(now: float, meter: Meter) -> int:
    return int(now // SECONDS[meter]) * SECONDS[meter]


def _hashed(who: str) -> str:
    """A visitor's name is what lets them in, and an address is personal: neither is kept as it is."""
    kind, _, name = who.partition(":")
    return f"{kind}:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:32]}"
