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
from ui.admission import Places
from ui.problems import describes

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


def add_health(app: FastAPI, rungs: Rungs, places: Places) -> None:
    """The routes."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    registry = CollectorRegistry()
    registry.register(Collected(rungs, places))

    async def healthz() -> Alive:
        """Whether the process answers."""
        return Alive()

    async def readyz() -> JSONResponse:
        """Whether questions can be answered."""
        problems = await asyncio.to_thread(problems_of, rungs)
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
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        questions = CounterMetricFamily("rungs_questions", "Questions by what became of them.", labels=["outcome"])
        for outcome, count in sorted(self._rungs.traces.shares().items()):
            questions.add_metric([outcome], count)
        yield questions
        yield GaugeMetricFamily("rungs_api_answers_under_way", "Answers under way.", value=self._places.taken)
        yield GaugeMetricFamily("rungs_passages", "Passages that can be found.", value=self._rungs.store.count())
        waiting = self._rungs.corrections.counts()["waiting"]
        yield GaugeMetricFamily("rungs_corrections_waiting", "Corrections that wait for a reviewer.", value=waiting)
