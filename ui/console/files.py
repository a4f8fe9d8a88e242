"""What the console hands out as files: questions and content gaps as CSV, written answers as a golden set.

Routes below `/console/files`, so that the door of the console guards them. A cell that a spreadsheet would take for a
formula is made text. Wired by `server.py`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, StreamingResponse

from assistant.fates import asked
from assistant.gaps import GapFinder
from ui.console.golden_file import golden_file
from ui.present import escaped

if TYPE_CHECKING:
    from assistant.build import Rungs

FILES = "/console/files"
OVERVIEW_CSV, GAPS_CSV, GOLDEN = "questions.csv", "unanswered.csv", "golden.jsonl"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell must not begin with (OWASP: CSV injection)."""
Since = Annotated[str | None, Query(max_length=40)]


def console_files_router(rungs: Rungs) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=FILES)

    def questions(since: Since = None) -> StreamingResponse:
        names = (
            "asked_at",
            "question",
            "surface",
            "level",
            "fate",
            "thumb",
            "seconds",
            "tokens_in",
            "tokens_out",
            "id",
        )
        rows = (
            (o.started_at, o.text, o.surface, o.level, o.fate, o.thumb, o.seconds, o.tokens_in, o.tokens_out, o.id)
            for o in asked(rungs.engine, since)
        )
        return _csv(OVERVIEW_CSV, names, rows)

    def unanswered(since: Since = None) -> StreamingResponse:
        names = ("gap", "questions", "handed_off", "not_helpful", "question", "asked_at", "fate", "id")
        rows = (
            (gap.title, len(gap.questions), gap.handoffs, gap.disputed, o.text, o.started_at, o.fate, o.id)
            for gap in GapFinder(rungs.engine, rungs.store.embedder).find(since)
            for o in gap.questions
        )
        return _csv(GAPS_CSV, names, rows)

    def golden() -> FileResponse:
        file = golden_file(rungs.settings.home)
        if not file.is_file():
            raise HTTPException(404, "no answer was added to the golden set yet")
        return FileResponse(file, filename=GOLDEN, media_type="application/x-ndjson")

    for name, work in ((OVERVIEW_CSV, questions), (GAPS_CSV, unanswered), (GOLDEN, golden)):
        router.add_api_route(f"/{name}", work, methods=["GET"], include_in_schema=False)
    return router


def link(name: str, words: str, **query: str | None) -> str:
    """A link that downloads a file."""
    asked_for = urlencode({key: value for key, value in query.items() if value})
    address = f"{FILES}/{name}" + (f"?{asked_for}" if asked_for else "")
    return f'<p class="files"><a href="{escaped(address)}" download="{name}">{escaped(words)}</a></p>'


def _csv(name: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingResponse:
    def lines() -> Iterator[str]:
        for row in (headers, *rows):
            line = io.StringIO()
            csv.writer(line).writerow([_cell(value) for value in row])
            yield line.getvalue()

    told = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=told)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
