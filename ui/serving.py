"""`rungs serve`: owns a home, checks the address, loads the demo, and serves the application until it is stopped.

Without accounts only loopback is served. The application itself is `server.py`. Called by the command line.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from assistant.errors import AssistantError
from assistant.home import announced, owned
from assistant.settings import Settings
from ui.access.doorkeeper import is_loopback
from ui.server import create_app

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

HANDBOOK = Path(__file__).resolve().parents[1] / "knowledge" / "handbook"
HANDBOOK_SOURCE = "handbook"
DEMO_LOADED = "demo-loaded"


def serve(settings: Settings) -> None:
    """Own the home, start everything, serve until stopped.

    Raises:
        AssistantError: another address than loopback, a taken port, a home in use; with what to do.
    """
    check_address(settings)
    with owned(settings.home), bound(settings) as listener:
        warming = threading.Thread(target=_import_gradio, daemon=True)
        warming.start()
        import uvicorn

        from assistant.build import build
        from assistant.erasure import AgeKeeper
        from ui.access.login import SetUp
        from ui.access.people import People
        from ui.leaving import STATE, PatientServer
        from ui.observing.logs import set_up_logs

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
                warming.join()  # two threads that import the same circle of modules find it half made (`mcp` did)
                app = create_app(rungs, server.token, port, people, set_up)
                app.router.lifespan_context = _announcing(app.router.lifespan_context, url, set_up.token)
                gc.collect()
                gc.freeze()  # what stays for good is not walked through again: a quarter of a second, for everybody
                config = uvicorn.Config(app, **listening(settings))
                PatientServer(config, getattr(app.state, STATE)).run(sockets=[listener])
        finally:
            keeper.close()
            rungs.close()


def check_address(settings: Settings) -> None:
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


def bound(settings: Settings) -> socket.socket:
    """A socket that listens on the address of the settings.

    Raises:
        AssistantError: it is taken, or not this machine's; with what to do.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise AssistantError(
            f"port {settings.port} on {settings.host} cannot be used ({error.strerror}). Choose another: --port 7861"
        ) from error
    return listener


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


def _has_people(settings: Settings) -> bool:
    """Whether somebody could log in; makes no home."""
    from knowledge.database import open_engine
    from ui.access.people import People

    if not settings.database and not settings.home.is_dir():
        return False
    engine = open_engine(settings.database_url)
    try:
        return People(engine).any
    finally:
        engine.dispose()


def _announcing(inner: Any, url: str, token: str) -> Any:
    """The application's lifespan, which says where it is once it is up."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            typer.echo(f"Rungs is ready: {url}   (console: {url}/console; stop with Ctrl-C)")
            if token:
                typer.echo(f"Everybody on this machine is its owner; to have people log in: {url}/setup?token={token}")
            yield state

    return lifespan


def _leave(_number: int, _frame: object) -> None:
    """SIGTERM as an exception, so that everything is closed on the way out."""
    raise SystemExit(0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _import_gradio() -> None:
    import_module("gradio")
