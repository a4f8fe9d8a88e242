"""The web application: our own FastAPI with the surfaces mounted, shut to everybody but those who may.

As long as there are no accounts it serves on loopback only. To add a surface: a new file, one line in SURFACES, and one
in `doors.py` that says who may use it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assistant.errors import AssistantError
from assistant.home import announced, owned
from assistant.settings import Settings
from ui.doorkeeper import is_loopback

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assistant.build import Rungs
    from ui.admission import Admission
    from ui.background import Background
    from ui.login import SetUp
    from ui.people import People
    from ui.webhooks import Webhooks

log = logging.getLogger(__name__)

HANDBOOK = Path(__file__).resolve().parents[1] / "knowledge" / "handbook"
HANDBOOK_SOURCE = "handbook"
DEMO_LOADED = "demo-loaded"
WAITING_MAX = 40
"""Questions that may wait for the engine; later ones are told that it is busy."""


def _chat(rungs: Rungs, _background: Background) -> Any:
    return import_module("ui.chat").build_chat(rungs)


def _console(rungs: Rungs, background: Background) -> Any:
    return import_module("ui.console").build_console(rungs, background)


def _copilot(rungs: Rungs, _background: Background) -> Any:
    return import_module("ui.copilot").build_copilot(rungs)


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

    from ui.admission import Admission, Places
    from ui.api import add_api
    from ui.background import Background
    from ui.budgets import Budgets, limits_of
    from ui.console_files import console_files_router
    from ui.control import control_router
    from ui.doorkeeper import Doorkeeper, OwnPagesAlone
    from ui.gradio_pages import OWN, STATIC, mounted
    from ui.health import add_health
    from ui.leaving import STATE, Leaving, UntilLeaving
    from ui.live import add_live
    from ui.login import SetUp, add_login
    from ui.measures import Measures
    from ui.observing import add_observers
    from ui.openapi import add_openapi
    from ui.people import People
    from ui.problems import add_ends, add_problems
    from ui.rest import rest_router
    from ui.rest_knowledge import knowledge_router
    from ui.rest_webhooks import webhooks_router
    from ui.sites import Sites
    from ui.webhooks import Webhooks
    from ui.widget_door import add_widget
    from ui.widget_pages import add_widget_pages

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
        import_module("ui.oidc").add_oidc(app, rungs.engine, settings, people)
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
    app.add_middleware(
        Doorkeeper, port=port, people=people, hosts=rungs.settings.hosts, anonymous=rungs.settings.anonymous_chat
    )  # sees every request before anything that answers
    leaving = Leaving(rungs, places)
    app.add_middleware(UntilLeaving, leaving=leaving)
    add_observers(app, rungs, measures, installed_version())  # last, so outermost: it sees what is refused, too
    setattr(app.state, STATE, leaving)
    return app


def serve(settings: Settings) -> None:
    """Own the home, start everything, serve until stopped.

    Raises:
        AssistantError: another address than loopback, a taken port, a home in use; with what to do.
    """
    _check_address(settings)
    with owned(settings.home), _listener(settings) as listener:
        warming = threading.Thread(target=_import_gradio, daemon=True)
        warming.start()
        import uvicorn

        from assistant.build import build
        from assistant.erasure import AgeKeeper
        from ui.leaving import STATE, PatientServer
        from ui.login import SetUp
        from ui.logs import set_up_logs
        from ui.people import People

        set_up_logs(settings)
        signal.signal(signal.SIGTERM, _leave)  # uvicorn raises it again once it has stopped
        rungs = build(settings)
        keeper = AgeKeeper(rungs.engine, settings.retention_days)
        try:
            rungs.traces.close_open()
            if settings.demo:
                load_demo(rungs)
            port = listener.getsockname()[1]
            url = f"http://{_bracketed(settings.host)}:{port}"
            with announced(settings.home, url) as server:
                people = People(rungs.engine)
                set_up = SetUp(people)
                app = create_app(rungs, server.token, port, people, set_up)
                app.router.lifespan_context = _announcing(app.router.lifespan_context, url, set_up.token)
                config = uvicorn.Config(app, **listening(settings))
                PatientServer(config, getattr(app.state, STATE)).run(sockets=[listener])
        finally:
            keeper.close()
            rungs.close()


def listening(settings: Settings) -> dict[str, Any]:
    """How the server listens: whose word it takes for who asks, and how long it waits."""
    return {
        "log_config": None,  # uvicorn's own words go where ours go
        "access_log": False,  # its lines hold query strings
        "timeout_graceful_shutdown": 10,
        "server_header": False,
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": list(settings.proxies),
    }


def load_demo(rungs: Rungs) -> None:
    """Load the handbook on the first start; once removed it stays removed, but a newer one replaces an older one."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from knowledge.ingest import ingest
    from knowledge.types import IngestReport

    mark = rungs.settings.home / DEMO_LOADED
    if mark.exists() and not rungs.store.known(HANDBOOK_SOURCE):
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading the handbook", total=None)
        for step in ingest(rungs.store, [HANDBOOK], source=HANDBOOK_SOURCE):
            if isinstance(step, IngestReport):
                for failure in step.failed:
                    log.warning("handbook: %s: %s", failure.source, failure.reason)
            else:
                bar.update(task, completed=step.done, total=step.total)
    mark.touch()


def _check_address(settings: Settings) -> None:
    """Beyond loopback only people with accounts are served, under a name that the owner gave.

    Raises:
        AssistantError: there is no account, or no name.
    """
    if is_loopback(settings.host):
        return
    if not _has_people(settings):
        raise AssistantError(
            f"host {settings.host}: only loopback (127.0.0.1, ::1, localhost) is served while there are no accounts, "
            "since everybody who reaches the page could read every question. Make an owner first: "
            "rungs accounts create-owner NAME"
        )
    if not settings.hosts:
        raise AssistantError(
            f"host {settings.host}: say under which names the pages are reached, as the setting hosts: "
            'hosts = ["support.example.com"]. Requests that name another host are refused.'
        )


def _add_mcp(app: FastAPI, rungs: Rungs, admission: Admission) -> None:
    """The MCP server's route beside ours; Host and Origin are the doorkeeper's affair, for all of them."""
    from mcp.server.transport_security import TransportSecuritySettings

    from ui.mcp_door import PATH, ComeBack, mcp_server

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


def _has_people(settings: Settings) -> bool:
    """Whether somebody could log in; makes no home."""
    from knowledge.database import open_engine
    from ui.people import People

    if not settings.database and not settings.home.is_dir():
        return False
    engine = open_engine(settings.database_url)
    try:
        return People(engine).any
    finally:
        engine.dispose()


@asynccontextmanager
async def _nothing(_app: Any) -> AsyncIterator[None]:
    yield


def _closing(inner: Any, background: Background) -> Any:
    """The application's lifespan, which stops long work at its end."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with (inner or _nothing)(app) as state:
            try:
                yield state
            finally:
                await asyncio.to_thread(background.close)

    return lifespan


def _announcing(inner: Any, url: str, token: str) -> Any:
    """The application's lifespan, which says where it is once it is up."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with (inner or _nothing)(app) as state:
            typer.echo(f"Rungs is ready: {url}   (console: {url}/console; stop with Ctrl-C)")
            if token:
                typer.echo(f"Everybody on this machine is its owner; to have people log in: {url}/setup?token={token}")
            yield state

    return lifespan


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AssistantError(
            f"port {settings.port} on {settings.host} cannot be used ({error.strerror}). Choose another: --port 7861"
        ) from error
    return listener


def _leave(_number: int, _frame: object) -> None:
    """SIGTERM as an exception, so that everything is closed on the way out."""
    raise SystemExit(0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _import_gradio() -> None:
    import_module("gradio")
