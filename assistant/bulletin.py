"""Wakes whoever waits for something to change: a conversation, the desk. Carries no content, so nothing can leak by it.

Within a process by events; between processes by PostgreSQL's LISTEN and NOTIFY where that is the database. What changed
is read from SQL by whoever is woken: a wake-up that gets lost costs a delay, never a message. Published by the stores,
waited on by the pages.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

DESK = "desk"
"""The topic of hand-offs: somebody waits, was taken over, is done."""
CHANNEL = "rungs_bulletin"
LISTEN_SECONDS = 5.0
RETRY_SECONDS = 2.0
Listener = Callable[[str, Mapping[str, Any]], None]
log = logging.getLogger(__name__)


def conversation_topic(conversation_id: str) -> str:
    """The topic of one conversation."""
    return f"conversation {conversation_id}"


class Subscription:
    """One waiter on one topic. Wake-ups between two waits are not lost."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._woken = threading.Event()

    def wake(self) -> None:
        """Something changed. From any thread."""
        self._woken.set()
        if self._loop and self._changed:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._changed.set)

    def wait(self, seconds: float) -> bool:
        """Block until something changed, at most so long. True if it did."""
        woken = self._woken.wait(seconds)
        self._woken.clear()
        return woken

    async def changed(self, seconds: float) -> bool:
        """As `wait`, for an event loop; always the same one."""
        if self._changed is None:
            self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        if not self._woken.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        woken = self._woken.is_set()
        self._changed.clear()
        self._woken.clear()
        return woken


class Bulletin:
    """Topics and who waits on them. Thread-safe."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine if engine is not None and engine.dialect.name == "postgresql" else None
        self._name = secrets.token_hex(6)
        self._waiting: dict[str, set[Subscription]] = {}
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ear: threading.Thread | None = None

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[Subscription]:
        """Wait on a topic for as long as the block runs."""
        subscription = Subscription()
        with self._lock:
            self._waiting.setdefault(topic, set()).add(subscription)
            if self._engine is not None and self._ear is None and not self._stop.is_set():
                self._ear = threading.Thread(target=self._hear, name="rungs-bulletin", daemon=True)
                self._ear.start()
        try:
            yield subscription
        finally:
            with self._lock:
                waiting = self._waiting.get(topic, set())
                waiting.discard(subscription)
                if not waiting:
                    self._waiting.pop(topic, None)

    def publish(self, *topics: str) -> None:
        """Wake everybody who waits on these topics, here and in other processes. Call it once the change is on disk."""
        self._wake(*topics)
        if self._engine is None:
            return
        try:
            with self._engine.connect() as connection, connection.begin():
                for topic in topics:
                    told = {"channel": CHANNEL, "topic": f"{self._name} {topic}"}
                    connection.execute(text("SELECT pg_notify(:channel, :topic)"), told)
        except SQLAlchemyError:  # what changed is on disk; others see it when they look next
            log.warning("other processes could not be told of a change", exc_info=True)

    @property
    def closed(self) -> bool:
        """Whether nothing will be published any more."""
        return self._stop.is_set()

    def listen(self, listener: Listener) -> None:
        """Be told of events of this process, each exactly once.

        They are `handed_off`, `resolved`, `feedback`, `answered` (with the trace) and `interrupted`.
        """
        self._listeners.append(listener)

    def tell(self, event: str, about: Mapping[str, Any]) -> None:
        """Something happened in this process. A listener that fails is logged and stops nobody."""
        for listener in self._listeners:
            try:
                listener(event, about)
            except Exception:
                log.exception("a listener of %s failed", event)

    def close(self) -> None:
        """Stop listening; who waits is woken. Idempotent."""
        self._stop.set()
        with self._lock:
            topics = tuple(self._waiting)
        self._wake(*topics)
        if self._ear is not None:
            self._ear.join(LISTEN_SECONDS + 1)

    def _wake(self, *topics: str) -> None:
        with self._lock:
            waiting = [subscription for topic in topics for subscription in self._waiting.get(topic, ())]
        for subscription in waiting:
            subscription.wake()

    def _hear(self) -> None:
        """What other processes publish, until closed; a connection that breaks is made anew, and everybody looks."""
        assert self._engine is not None  # noqa: S101  (only started with one)
        lost = self._engine.dialect.loaded_dbapi.Error  # of the driver's own calls, which SQLAlchemy does not see
        while not self._stop.is_set():
            try:
                self._listen_once(self._engine)
            except (SQLAlchemyError, lost):
                log.warning("listening for changes broke off; trying again", exc_info=True)
                self._stop.wait(RETRY_SECONDS)

    def _listen_once(self, engine: Engine) -> None:
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            try:
                raw.autocommit = True
                raw.execute(f"LISTEN {CHANNEL}")
                with self._lock:
                    everybody = tuple(self._waiting)
                self._wake(*everybody)  # what was published before this connection listened
                while not self._stop.is_set():
                    for notice in raw.notifies(timeout=1.0, stop_after=1):
                        sender, _, topic = notice.payload.partition(" ")
                        if sender != self._name:
                            self._wake(topic)
            finally:
                connection.invalidate()  # a connection that listened never goes back to the pool
