"""Is it alive, is it ready, and how much does it do: `/healthz`, `/readyz`, `/metrics` (Prometheus).

Only counts and names leave here, no text of anybody's. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from sqlalchemy import text

from knowledge.database import reading
from knowledge.errors import KnowledgeError
from ui.access.admission import Places
from ui.api.problems import describes
from ui.observing.measures import Measures

if TYPE_CHECKING:
    from prometheus_client import Metric

    from assistant.build import Rungs


class Alive(BaseModel):
    """It is."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Whether it can answer, and what stands in the way, by part."""

    ready: bool
    problems: dict[str, str]


def add_health(app: FastAPI, rungs: Rungs, places: Places, measures: Measures) -> None:
    """The routes."""
    from prometheus_client import generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    registry = measures.registry
    registry.register(Collected(rungs, places))

    async def healthz() -> Alive:
        """Whether the process answers."""
        return Alive()

    async def readyz() -> JSONResponse:
        """Whether questions can be answered."""
        problems = await asyncio.to_thread(problems_of, rungs)
        if places.closed:
            problems["server"] = "it is being stopped"
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200)

    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(await asyncio.to_thread(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)

    ready: dict[int | str, dict[str, Any]] = {
        200: {"model": Ready}, 500: describes()[500], 503: {"model": Ready, "description": "it cannot answer now"}
    }  # fmt: skip
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    alive: dict[int | str, dict[str, Any]] = {500: describes()[500]}
    for path, work, told in (
        ("/healthz", healthz, alive),
        ("/readyz", readyz, ready),
        ("/metrics", metrics, {**describes(), **text}),
    ):
        kind = PlainTextResponse if path == "/metrics" else JSONResponse
        app.add_api_route(path, work, methods=["GET"], tags=["health"], responses=told, response_class=kind)


def problems_of(rungs: Rungs) -> dict[str, str]:
    """What stands in the way of answering, by part; empty where nothing does."""
    problems = {}
    try:
        with reading(rungs.engine) as connection:
            connection.execute(text("SELECT 1"))
    except KnowledgeError as error:
        problems["database"] = str(error)
    if rungs.store.degraded:
        problems["index"] = rungs.store.degraded
    return problems


class Collected:
    """What is counted, read anew for every scrape."""

    def __init__(self, rungs: Rungs, places: Places) -> None:
        self._rungs = rungs
        self._places = places

    def collect(self) -> Iterator[Metric]:
        """Prometheus asks."""
        from prometheus_client.core import GaugeMetricFamily

        handoffs = GaugeMetricFamily("rungs_handoffs", "Hand-offs to people, by state.", labels=["state"])
        for state, count in sorted(self._rungs.desk.counts().items()):
            handoffs.add_metric([state], count)
        yield handoffs
        yield GaugeMetricFamily("rungs_places", "Questions that are let in at once.", value=self._places.most)
        yield GaugeMetricFamily("rungs_api_answers_under_way", "Places that are taken.", value=self._places.taken)
        under_way = self._rungs.assistant.under_way
        yield GaugeMetricFamily("rungs_answers_under_way", "Questions that somebody waits for.", value=under_way)
        yield GaugeMetricFamily("rungs_passages", "Passages that can be found.", value=self._rungs.store.count())
        waiting = self._rungs.corrections.counts()["waiting"]
        yield GaugeMetricFamily("rungs_corrections_waiting", "Corrections that wait for a reviewer.", value=waiting)
