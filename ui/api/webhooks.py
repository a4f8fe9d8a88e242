"""Webhooks: other programs are told of events. An outbox in SQL, and one thread that delivers it, with retries.

An event is on disk before it is sent; it is delivered at least once, and given up after `TRIES`. Bodies hold ids and
kinds, nobody's words: who wants those reads them over the API. Several processes may share one outbox. Started by
`server.py`; sent by `webhook_sending.py`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import httpx
from sqlalchemy import Engine, Row, delete, func, insert, select, update

from assistant.errors import AssistantError
from knowledge.database import migrate, reading, writing
from ui.access.people import MIGRATIONS, VERSION_TABLE
from ui.access.people_tables import deliveries, webhooks
from ui.api.webhook_sending import SECRET_PREFIX, check_url, post, signed

log = logging.getLogger(__name__)

WebhookEvent = Literal["handed_off", "resolved", "feedback", "adapter_promoted"]
EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
State = Literal["waiting", "delivered", "dead"]
WAITS = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds before each further try."""
TRIES = len(WAITS) + 1
LEASE_SECONDS = 60.0
"""A delivery that a process took and did not finish is taken by another after so long."""
LOOK_SECONDS = 2.0
AT_ONCE = 8
WEBHOOKS_MAX = 20
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events go, without the secret."""

    id: str
    url: str
    events: tuple[WebhookEvent, ...]
    made_by: str
    made_at: str
    waiting: int
    """Deliveries on their way."""
    last: str
    """What became of the latest try: `delivered (204)`, `waiting (500)`; empty before the first."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook."""

    id: str
    webhook: str
    event: WebhookEvent
    state: State
    tries: int
    told: str
    """What came back last."""
    made_at: str


class Webhooks:
    """Webhooks and their outbox. Thread-safe; delivers once `start` was called."""

    def __init__(self, engine: Engine, private: bool = False) -> None:
        """Bring the tables up to date.

        Args:
            engine: from `open_engine`.
            private: this machine's loopback may be called, too, and by http.
        """
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        self._engine = engine
        self._private = private
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    # where events go

    def add(self, url: str, events: Iterable[WebhookEvent], by: str) -> tuple[Webhook, str]:
        """Make a webhook; its secret is told here and nowhere else.

        Raises:
            AssistantError: the address may not be called, an event is unknown or none is named, or there are too many.
        """
        wanted = tuple(dict.fromkeys(events))
        unknown = [event for event in wanted if event not in EVENTS]
        if unknown or not wanted:
            raise AssistantError(f"events are {', '.join(EVENTS)}; not {', '.join(unknown) or 'none'}.")
        check_url(url, self._private)
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        made = Webhook(secrets.token_hex(6), url, wanted, by, _now(), 0, "")
        row = {"id": made.id, "url": url, "events": " ".join(wanted), "secret": secret}
        with writing(self._engine) as connection:
            if (connection.scalar(select(func.count()).select_from(webhooks)) or 0) >= WEBHOOKS_MAX:
                raise AssistantError(f"there are {WEBHOOKS_MAX} webhooks already; remove one first.")
            connection.execute(insert(webhooks), {**row, "made_by": by, "made_at": made.made_at})
        return made, secret

    def all(self) -> tuple[Webhook, ...]:
        """Every webhook with what became of its latest delivery."""
        with reading(self._engine) as connection:
            found = connection.execute(select(webhooks).order_by(webhooks.c.number)).all()
            latest = {row.webhook: row for row in connection.execute(_latest())}
            waiting: dict[str, int] = {id: number for id, number in connection.execute(_waiting())}
        return tuple(_webhook(row, waiting.get(row.id, 0), latest.get(row.id)) for row in found)

    def remove(self, id: str) -> None:
        """Take a webhook away, with everything on its way to it.

        Raises:
            AssistantError: there is none.
        """
        with writing(self._engine) as connection:
            connection.execute(delete(deliveries).where(deliveries.c.webhook == id))
            if not connection.execute(delete(webhooks).where(webhooks.c.id == id)).rowcount:
                raise AssistantError(f"there is no webhook {id!r}. `rungs webhooks list` shows them.")

    def deliveries(self, id: str, limit: int = 100, offset: int = 0) -> tuple[Delivery, ...]:
        """What was sent to a webhook, the latest first."""
        query = select(deliveries).where(deliveries.c.webhook == id).order_by(deliveries.c.number.desc())
        with reading(self._engine) as connection:
            rows = connection.execute(query.limit(limit).offset(offset)).all()
        return tuple(
            Delivery(row.id, row.webhook, row.event, row.state, row.tries, row.told, row.made_at) for row in rows
        )

    # events

    def emit(self, event: str, about: Mapping[str, Any]) -> None:
        """Put an event on its way; on disk when this returns. Fits `Bulletin.listen`."""
        if event not in EVENTS:  # other listeners'
            return
        with reading(self._engine) as connection:
            rows = connection.execute(select(webhooks.c.id, webhooks.c.events)).all()
        wanted = [row.id for row in rows if event in row.events.split()]
        if wanted:
            id, now = f"msg_{secrets.token_hex(16)}", _now()
            body = json.dumps({"type": event, "timestamp": now, "data": dict(about)})
            fresh = {"id": id, "event": event, "body": body, "state": "waiting", "tries": 0, "due": 0.0, "told": ""}
            with writing(self._engine) as connection:
                connection.execute(insert(deliveries), [{**fresh, "webhook": to, "made_at": now} for to in wanted])
            self._woken.set()

    # delivering

    def start(self) -> None:
        """Deliver from now on, in a thread."""
        self._thread = threading.Thread(target=self._work, name="rungs-webhooks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop delivering; what is on its way stays in the outbox. Idempotent."""
        self._stopped.set()
        self._woken.set()
        if self._thread:
            self._thread.join(LEASE_SECONDS)

    def deliver_due(self, now: float | None = None) -> int:
        """Send what is due, once. Returns how many tries were made."""
        now = time.time() if now is None else now
        taken = self._taken(now)
        if taken:
            asyncio.run(self._sent(taken))
        return len(taken)

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                if self.deliver_due():
                    continue
                self._forget()
            except Exception:
                log.exception("webhooks could not be delivered; trying again")
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()

    def _taken(self, now: float) -> list[Row[Any]]:
        """Deliveries that are due, taken so that no other process sends them, too."""
        due = (deliveries.c.state == "waiting") & (deliveries.c.due <= now)
        query = (
            select(deliveries, webhooks.c.url, webhooks.c.secret)
            .join(webhooks, webhooks.c.id == deliveries.c.webhook)
            .where(due)
            .order_by(deliveries.c.due, deliveries.c.number)
            .limit(AT_ONCE)
        )
        with reading(self._engine) as connection:
            if not (rows := connection.execute(query).all()):
                return []
        mine = []
        with writing(self._engine) as connection:
            for row in rows:
                same = (deliveries.c.number == row.number) & (deliveries.c.tries == row.tries) & due
                taken = {"due": now + LEASE_SECONDS, "tries": row.tries + 1}
                if connection.execute(update(deliveries).where(same).values(**taken)).rowcount:
                    mine.append(row)
        return mine

    async def _sent(self, rows: list[Row[Any]]) -> None:
        told = await asyncio.gather(*(self._send(row) for row in rows))
        with writing(self._engine) as connection:
            for row, (ok, words) in zip(rows, told, strict=True):
                tries = row.tries + 1
                state = "delivered" if ok else "dead" if tries >= TRIES else "waiting"
                due = time.time() + WAITS[min(tries, len(WAITS)) - 1] * (0.9 + secrets.randbelow(200) / 1000)
                changed = {"state": state, "told": words[:300], "due": due}
                connection.execute(update(deliveries).where(deliveries.c.number == row.number).values(**changed))

    async def _send(self, row: Row[Any]) -> tuple[bool, str]:
        headers = signed(row.id, int(time.time()), row.body, row.secret)
        try:
            status = await post(row.url, headers, row.body, self._private)
        except TimeoutError:
            return False, "no answer in time"
        except (AssistantError, httpx.HTTPError, OSError, UnicodeError) as error:
            return False, str(error) or type(error).__name__
        return 200 <= status < 300, str(status)

    def _forget(self) -> None:
        """Deliveries that are done are kept for `KEPT_DAYS`."""
        since = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).isoformat(timespec="milliseconds")
        old = (deliveries.c.state != "waiting") & (deliveries.c.made_at < since)
        with reading(self._engine) as connection:
            if not connection.scalar(select(func.count()).select_from(deliveries).where(old)):
                return
        with writing(self._engine) as connection:
            connection.execute(delete(deliveries).where(old))


def _latest() -> Any:
    tried = select(func.max(deliveries.c.number)).where(deliveries.c.tries > 0).group_by(deliveries.c.webhook)
    return select(deliveries).where(deliveries.c.number.in_(tried))


def _waiting() -> Any:
    query = select(deliveries.c.webhook, func.count()).where(deliveries.c.state == "waiting")
    return query.group_by(deliveries.c.webhook)


def _webhook(row: Row[Any], waiting: int, latest: Row[Any] | None) -> Webhook:
    last = f"{latest.state} ({latest.told})" if latest else ""
    return Webhook(row.id, row.url, tuple(row.events.split()), row.made_by, row.made_at, waiting, last)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
