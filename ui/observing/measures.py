"""What one process counts for Prometheus: questions, their seconds and tokens, hand-offs, requests, itself.

Counted where it happens, so that several processes of one deployment can be added up. Only levels, outcomes, routes'
doors and numbers: nothing that anybody wrote. Made by `server.py`, shown by `health.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ui.access.admission import tokens_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Upper ends of the histogram's buckets: a quote takes a tenth of a second, a slow model minutes."""
NONE = "none"
"""The level of a question that no level answered."""


class Measures:
    """Counters of one server. Thread-safe; fits `Bulletin.listen`."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram
        from prometheus_client.platform_collector import PlatformCollector
        from prometheus_client.process_collector import ProcessCollector

        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._questions = Counter(
            "rungs_questions", "Questions that came to an end.", ["level", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "rungs_answer_seconds", "Seconds to a whole answer.", ["level"], buckets=SECONDS, registry=self.registry
        )
        self._tokens = Counter(
            "rungs_tokens", "Tokens of every draft, read (in) and written (out).", ["direction"], registry=self.registry
        )
        self._requests = Counter(
            "rungs_requests", "Requests by the door they came to.", ["class", "status"], registry=self.registry
        )
        for direction in ("in", "out"):
            self._tokens.labels(direction)

    def __call__(self, event: str, about: Mapping[str, Any]) -> None:
        """Something happened."""
        if event == "interrupted":
            self._questions.labels(NONE, "interrupted").inc()
        if event != "answered":
            return
        trace = about["trace"]
        level = trace.answer.level or NONE
        self._questions.labels(level, trace.answer.outcome).inc()
        self._seconds.labels(level).observe(trace.seconds)
        for direction, tokens in zip(("in", "out"), tokens_of(trace), strict=True):
            self._tokens.labels(direction).inc(tokens)

    def request(self, door: str, status: int) -> None:
        """One request, by the path of its door."""
        self._requests.labels(door, str(status)).inc()
