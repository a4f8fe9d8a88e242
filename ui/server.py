"""The web application: our own FastAPI with the surfaces mounted, shut to everybody but those who may.

To add a surface: a new file, one line in SURFACES, and one in `access/doors.py` that says who may use it. Called by
`serving.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assistant.build import Rungs
    from ui.access.admission import Admission
    from ui.access.login import SetUp
    from ui.access.people import People
    from ui.api.webhooks import Webhooks
    from ui.background import Background

WAITING_MAX = 40
"""Questions that may wait for the engine; later ones are told that it is busy."""


def _chat(rungs: Rungs, _background: Background) -> Any:
    return import_module("ui.chat.page").build_chat(rungs)


def _console(rungs: Rungs, background: Background) -> Any:
    return import_module("ui.console.page").build_console(rungs, background)


def _copilot(rungs: Rungs, _background: Background) -> Any:
    return import_module("ui.copilot.page").build_copilot(rungs)


SURFACES: Mapping[str, Callable[[Rungs, Background], Any]] = {"/console": _console, "/copilot": _copilot, "/": _chat}
"""Pages by path; the one at the root comes last, since it takes every path that nobody else has."""


def create_app(
    rungs: Rungs, token: str, port: int, people: People | None = None, set_up: SetUp | None = None
) -> FastAPI:
    """The application for a running assistant.

    Args:
        rungs: out of `build`.
        token: lets the command line in (`server.json`).
        port: of the listener; a Host header that names another one is refused.
        people: who there is; out of the same database if None.
        set_up: the link that makes the first owner; one that nobody knows if None.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_MCP_SERVER", "False")
    from fastapi import FastAPI
    from fastapi.responses import RedirectResponse
    from starlette.staticfiles import StaticFiles

    from ui.access.admission import Admission, Places
    from ui.access.budgets import Budgets, limits_of
    from ui.access.crowds import FullHouse, Turns
    from ui.access.doorkeeper import Doorkeeper, OwnPagesAlone
    from ui.access.login import SetUp, add_login
    from ui.access.people import People
    from ui.api.openai_door import add_api
    from ui.api.openapi import add_openapi
    from ui.api.problems import add_ends, add_problems
    from ui.api.rest import rest_router
    from ui.api.rest_knowledge import knowledge_router
    from ui.api.rest_webhooks import webhooks_router
    from ui.api.webhooks import Webhooks
    from ui.background import Background
    from ui.console.files import console_files_router
    from ui.control import control_router
    from ui.gradio_pages import OWN, STATIC, mounted
    from ui.leaving import STATE, Leaving, UntilLeaving
    from ui.live import add_live
    from ui.observing.health import add_health
    from ui.observing.measures import Measures
    from ui.observing.requests import add_observers
    from ui.widget.door import add_widget
    from ui.widget.pages import add_widget_pages
    from ui.widget.sites import Sites

    people = people or People(rungs.engine)
    app = FastAPI(title="Rungs", docs_url=None, redoc_url=None, openapi_url=None)
    add_problems(app)
    app.include_router(control_router(rungs, token))
    places = Places(rungs.settings.slots + WAITING_MAX)
    admission = Admission(places, Budgets(rungs.engine, limits_of(rungs.settings)))
    add_api(app, rungs, admission)
    measures = Measures()
    add_health(app, rungs, places, measures)
    add_live(app, rungs)
    sites = Sites(rungs.engine)
    add_widget(app, rungs, admission, sites)
    add_widget_pages(app, sites)
    webhooks = Webhooks(rungs.engine, rungs.settings.webhook_private)
    for router in (rest_router(rungs, admission), knowledge_router(rungs), webhooks_router(webhooks)):
        app.include_router(router)
    app.include_router(console_files_router(rungs))
    _add_mcp(app, rungs, admission)
    _add_deliveries(app, rungs, webhooks)
    settings = rungs.settings
    if settings.oidc_issuer:
        import_module("ui.access.oidc").add_oidc(app, rungs.engine, settings, people)
    add_login(app, people, set_up or SetUp(people), settings.oidc_name if settings.oidc_issuer else "")
    background = Background(rungs)
    app.router.lifespan_context = _closing(app.router.lifespan_context, background)
    app.mount(OWN, StaticFiles(directory=STATIC))
    add_openapi(app, installed_version())
    add_ends(app, "/v1/", "/api/", "/healthz", "/readyz", "/metrics", "/openapi.json")

    for path, make in SURFACES.items():
        if path != "/":  # a mount answers below its path only, and what people type has no slash at its end
            app.add_route(path, lambda request: RedirectResponse(f"{request.url.path}/"), include_in_schema=False)
        app = mounted(app, make(rungs, background), path, WAITING_MAX, rungs.settings.slots + 6)
    app.add_middleware(OwnPagesAlone, allow_origins=[])
    app.add_middleware(FullHouse, places=places)
    app.add_middleware(
        Doorkeeper, port=port, people=people, hosts=rungs.settings.hosts, anonymous=rungs.settings.anonymous_chat
    )  # sees every request before anything that answers
    leaving = Leaving(rungs, places)
    app.add_middleware(UntilLeaving, leaving=leaving)
    add_observers(app, rungs, measures, installed_version())  # outside the others: it sees what is refused, too
    app.add_middleware(Turns)
    setattr(app.state, STATE, leaving)
    return app


def _add_mcp(app: FastAPI, rungs: Rungs, admission: Admission) -> None:
    """The MCP server's route beside ours; Host and Origin are the doorkeeper's affair, for all of them."""
    from mcp.server.transport_security import TransportSecuritySettings

    from ui.api.mcp_door import PATH, ComeBack, mcp_server

    server = mcp_server(rungs, admission)
    ours = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    inner = server.streamable_http_app(
        streamable_http_path=PATH, json_response=True, stateless_http=True, transport_security=ours
    )
    for route in inner.routes:
        route.app = ComeBack(route.app)  # type: ignore[attr-defined]
    app.router.routes.extend(inner.routes)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with outer(app) as state, server.session_manager.run():
            yield state

    app.router.lifespan_context = lifespan


def _add_deliveries(app: FastAPI, rungs: Rungs, webhooks: Webhooks) -> None:
    """Events go into the outbox as they happen; they are delivered while the application runs."""
    rungs.desk.bulletin.listen(webhooks.emit)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with outer(app) as state:
            webhooks.start()
            try:
                yield state
            finally:
                webhooks.close()

    app.router.lifespan_context = lifespan


def installed_version() -> str:
    """Of Rungs."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rungs")
    except PackageNotFoundError:
        return "unknown"


def _closing(inner: Any, background: Background) -> Any:
    """The application's lifespan, which stops long work at its end."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            try:
                yield state
            finally:
                await asyncio.to_thread(background.close)

    return lifespan
