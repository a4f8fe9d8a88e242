"""REST for programs: what is known. Documents come as files or as answer pairs, are listed, read, and removed.

What came over the API lies in a folder of the home, one for each source, and is ingested from there. Wired by
`server.py`.
"""

from __future__ import annotations

import asyncio
import csv
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, UploadFile
from fastapi import Path as InPath

from knowledge.text import clean
from ui.control import run_command
from ui.problems import Refusal, describes
from ui.rest import done
from ui.rest_shapes import (
    Document,
    DocumentList,
    FoundList,
    Ingested,
    Limit,
    Offset,
    PairsRequest,
    PassageList,
    Removed,
    Source,
    SourceList,
)

if TYPE_CHECKING:
    from assistant.build import Rungs

UPLOADS = "uploads"
"""Folder of a home: documents that came over the API, one folder for each source."""
FILES_MAX = 100
NAME_BYTES = 200
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
InSource = Annotated[str, InPath(max_length=4000)]


class KnowledgeRest:
    """What the routes do, for one running assistant."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs
        self._uploads = rungs.settings.home.resolve() / UPLOADS
        self._one_at_a_time = threading.Lock()

    async def sources(self) -> SourceList:
        """Where what is known comes from."""
        return SourceList(sources=list(await asyncio.to_thread(self._rungs.store.sources)))

    async def search(
        self, text: Annotated[str, Query(min_length=1, max_length=8000)], k: Annotated[int, Query(ge=1, le=50)] = 5
    ) -> FoundList:
        """The passages nearest to a text; no model is asked."""
        return FoundList(**await done(self._rungs, "search", {"text": clean(text), "k": k}))

    async def documents(self, source: Source = "", limit: Limit = 100, offset: Offset = 0) -> DocumentList:
        """Documents, of one source or of all."""
        wanted = await self._named(source) if source else None
        found = await asyncio.to_thread(self._rungs.store.documents, wanted)
        return DocumentList(documents=list(found[offset : offset + limit]))

    async def passages(self, source: Source, document: Document, limit: Limit = 100, offset: Offset = 0) -> PassageList:
        """One document, as its passages in reading order."""
        named = await self._named(source)
        found = await asyncio.to_thread(self._rungs.store.passages, named, clean(document))
        if not found:
            raise Refusal(404, f"there is no document {document[:200]!r} in that source")
        return PassageList(passages=list(found[offset : offset + limit]))

    async def add_documents(self, source: InSource, files: list[UploadFile]) -> Ingested:
        """Add documents to a source of its own; a document of the same name is replaced."""
        _check(source)
        if len(files) > FILES_MAX:
            raise Refusal(400, f"at most {FILES_MAX} files at once")
        return await asyncio.to_thread(self._taken_in, source, files)

    async def add_pairs(self, source: InSource, given: PairsRequest) -> Ingested:
        """Add answer pairs to a source of its own, as one document; the one of the same name is replaced."""
        _check(source)
        return await asyncio.to_thread(self._pairs_taken_in, source, given)

    async def remove_source(self, source: InSource) -> Removed:
        """Remove a source with all its documents."""
        path = str(self._uploads / source) if _SOURCE.fullmatch(source) else None
        arguments = {"source": clean(source), "path": path}
        gone = Removed(**await done(self._rungs, "sources-remove", arguments, 404))
        if path:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return gone

    async def remove_document(self, source: Source, document: Document) -> Removed:
        """Remove one document; one that was not sent over the API comes back when its folder is ingested again."""
        named = await self._named(source)

        def remove() -> Removed:
            if clean(document) not in self._rungs.store.known(named):
                raise Refusal(404, f"there is no document {document[:200]!r} in that source")
            with self._one_at_a_time:
                removed = self._rungs.store.remove(named, [clean(document)])
                if Path(named).parent == self._uploads and "/" not in document:
                    (Path(named) / document).unlink(missing_ok=True)
            return Removed(source=named, removed=removed)

        return await asyncio.to_thread(remove)

    # parts

    async def _named(self, source: str) -> str:
        """A source as the store knows it.

        Raises:
            Refusal: there is none.
        """
        known = {one.source for one in await asyncio.to_thread(self._rungs.store.sources)}
        for name in (clean(source), str(self._uploads / source) if _SOURCE.fullmatch(source) else ""):
            if name in known:
                return name
        raise Refusal(404, f"there is no source {source[:200]!r}")

    def _taken_in(self, source: str, files: list[UploadFile]) -> Ingested:
        """Keep the files, then ingest their folder: what is acknowledged is on disk and can be found."""
        names = [_name(file.filename or "") for file in files]
        with self._one_at_a_time:
            folder = self._folder(source)
            for file, name in zip(files, names, strict=True):
                with tempfile.NamedTemporaryFile(dir=folder.parent, delete=False) as part:
                    shutil.copyfileobj(file.file, part)
                Path(part.name).replace(folder / name)
            return self._ingested(folder)

    def _pairs_taken_in(self, source: str, given: PairsRequest) -> Ingested:
        with self._one_at_a_time:
            folder = self._folder(source)
            with tempfile.NamedTemporaryFile(
                "w", dir=folder.parent, delete=False, encoding="utf-8", newline=""
            ) as part:
                rows = csv.writer(part)
                rows.writerow(["question", "answer"])
                rows.writerows((clean(pair.question), clean(pair.answer)) for pair in given.pairs)
            Path(part.name).replace(folder / f"{given.name}.csv")
            return self._ingested(folder)

    def _folder(self, source: str) -> Path:
        folder = self._uploads / source
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _ingested(self, folder: Path) -> Ingested:
        *_, last = run_command(self._rungs, "ingest", {"paths": [str(folder)]}, threading.Event())
        if "error" in last:
            raise Refusal(409, last["error"])
        return Ingested(**last["result"])


def knowledge_router(rungs: Rungs) -> APIRouter:
    """The routes."""
    router, rest = APIRouter(prefix="/api/knowledge", tags=["knowledge"]), KnowledgeRest(rungs)
    for method, path, work, refusals in (
        ("GET", "/sources", rest.sources, ()),
        ("GET", "/search", rest.search, (400, 409)),
        ("GET", "/documents", rest.documents, (400, 404)),
        ("DELETE", "/documents", rest.remove_document, (400, 404)),
        ("GET", "/documents/passages", rest.passages, (400, 404)),
        ("POST", "/sources/{source}/documents", rest.add_documents, (400, 404, 409, 413)),
        ("POST", "/sources/{source}/pairs", rest.add_pairs, (400, 404, 409, 413)),
        ("DELETE", "/sources/{source}", rest.remove_source, (400, 404)),
    ):
        router.add_api_route(path, work, methods=[method], responses=describes(*refusals))
    return router


def _check(source: str) -> None:
    if not _SOURCE.fullmatch(source):
        raise Refusal(400, "a source is named by small letters, digits, - and _, at most 64", param="source")


def _name(given: str) -> str:
    """A file's name without a path.

    Raises:
        Refusal: it has none that a file can have.
    """
    name = Path(given.replace("\\", "/")).name
    if not name or name.startswith(".") or not name.isprintable() or len(name.encode()) > NAME_BYTES:
        raise Refusal(400, f"{given[:200]!r} is no name for a document", param="files")
    return name
