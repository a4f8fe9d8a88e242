"""REST for programs: what is known. Documents come as files or as answer pairs, are listed, read, and removed.

What is sent lies among the home's uploads, a folder for each source, and is ingested from there. Wired by `server.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import APIRouter, Query, Request, UploadFile
from fastapi import Path as InPath

from assistant import uploads
from assistant.answer_pairs import add_pairs
from assistant.errors import AssistantError
from knowledge.errors import KnowledgeError
from knowledge.text import clean
from ui.api.problems import Refusal, describes
from ui.api.rest import done, name_of
from ui.api.rest_shapes import (
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
from ui.control import run_command

if TYPE_CHECKING:
    from assistant.build import Rungs

FILES_MAX = 100
T = TypeVar("T")
InSource = Annotated[str, InPath(max_length=4000)]


class KnowledgeRest:
    """What the routes do, for one running assistant."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs
        self._home = rungs.settings.home

    async def sources(self) -> SourceList:
        """Where what is known comes from."""
        return SourceList(sources=list(await asyncio.to_thread(self._rungs.store.sources)))

    async def search(
        self, text: Annotated[str, Query(min_length=1, max_length=4000)], k: Annotated[int, Query(ge=1, le=50)] = 5
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
        if len(files) > FILES_MAX:
            raise Refusal(400, f"at most {FILES_MAX} files at once")
        return await asyncio.to_thread(self._taken_in, source, files)

    async def add_pairs(self, source: InSource, given: PairsRequest, request: Request) -> Ingested:
        """Add answer pairs to a source of its own, a document each; one of the same question is replaced."""
        pairs = [(clean(pair.question), clean(pair.answer)) for pair in given.pairs]

        def add() -> Ingested:
            try:
                report = add_pairs(self._rungs.store, self._home, pairs, name_of(request), source)
            except AssistantError as error:
                raise Refusal(400, str(error)) from error
            except KnowledgeError as error:
                raise Refusal(409, str(error)) from error
            return Ingested(**asdict(report))

        return await asyncio.to_thread(add)

    async def remove_source(self, source: InSource) -> Removed:
        """Remove a source with all its documents."""
        arguments = {"source": clean(source), "path": self._folder(source)}
        gone = Removed(**await done(self._rungs, "sources-remove", arguments, 404))
        await asyncio.to_thread(uploads.forget, self._home, gone.source)
        return gone

    async def remove_document(self, source: Source, document: Document) -> Removed:
        """Remove one document; one that was not sent over the API comes back when its folder is ingested again."""
        named = await self._named(source)

        def remove() -> Removed:
            if clean(document) not in self._rungs.store.known(named):
                raise Refusal(404, f"there is no document {document[:200]!r} in that source")
            with uploads.alone_in(Path(named)):
                removed = self._rungs.store.remove(named, [clean(document)])
                uploads.forget(self._home, named, document)
            return Removed(source=named, removed=removed)

        return await asyncio.to_thread(remove)

    # parts

    async def _named(self, source: str) -> str:
        """A source as the store knows it.

        Raises:
            Refusal: there is none.
        """
        known = {one.source for one in await asyncio.to_thread(self._rungs.store.sources)}
        for name in (clean(source), self._folder(source)):
            if name in known:
                return name
        raise Refusal(404, f"there is no source {source[:200]!r}")

    def _folder(self, source: str) -> str:
        """The folder of what was sent; empty where that is no name for one."""
        try:
            return str(uploads.folder_of(self._home, source))
        except AssistantError:
            return ""

    def _taken_in(self, source: str, files: list[UploadFile]) -> Ingested:
        """Keep the files, then ingest their folder: what is acknowledged is on disk and can be found."""
        folder = _usable("source", lambda: uploads.folder_of(self._home, source))
        for file in files:
            _usable("files", lambda file=file: uploads.document_name(file.filename))  # type: ignore[misc]
        with uploads.alone_in(folder):
            for file in files:
                uploads.keep(self._home, source, file.filename, file.file)
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


def _usable(part: str, name: Callable[[], T]) -> T:
    """A name that was sent.

    Raises:
        Refusal: it is none; names the part of the request.
    """
    try:
        return name()
    except AssistantError as error:
        raise Refusal(400, str(error), param=part) from error
