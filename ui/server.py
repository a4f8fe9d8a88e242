"""The web application: our own FastAPI with the surfaces mounted, shut to everybody but this machine.

As long as there are no accounts it serves on loopback only, checks the Host header even there, answers no foreign
origin, and sends no page a foreign address to load from. To add a surface: a new file, and one line in SURFACES.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
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

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assistant.build import Rungs

log = logging.getLogger(__name__)

HANDBOOK = Path(__file__).resolve().parents[1] / "knowledge" / "handbook"
HANDBOOK_SOURCE = "handbook"
DEMO_LOADED = "demo-loaded"
STATIC = Path(__file__).parent / "static"
WAITING_MAX = 40
"""Questions that may wait for the engine; later ones are told that it is busy."""

BODY_BYTES = 2 * 1024 * 1024
"""Of a request to the API."""
ROWS_FILE_MAX = "32mb"
"""Of a file of training rows that is dropped on the console; the chat page takes no files."""
HOST = re.compile(r"(?P<name>\[[0-9a-f:]+\]|[a-z0-9.]+)(:(?P<port>[0-9]{1,5}))?", re.I)
"""A Host header: a name or an address (IPv6 in brackets), and a port."""
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's page has inline scripts and compiles templates
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "object-src 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def _chat(rungs: Rungs) -> Any:
    return import_module("ui.chat").build_chat(rungs)


def _console(rungs: Rungs) -> Any:
    return import_module("ui.console").build_console(rungs)


SURFACES: Mapping[str, Callable[[Rungs], Any]] = {"/console": _console, "/": _chat}
"""Pages by path; the one at the root comes last, since it takes every path that nobody else has."""


def create_app(rungs: Rungs, token: str, port: int) -> FastAPI:
    """The application for a running assistant.

    Args:
        rungs: out of `build`.
        token: lets the command line in (`server.json`).
        port: of the listener; a Host header that names another one is refused.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_MCP_SERVER", "False")
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse, RedirectResponse
    from starlette.middleware.cors import CORSMiddleware

    from ui.api import Places, add_api
    from ui.control import control_router

    app = FastAPI(title="Rungs", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(control_router(rungs, token))
    add_api(app, rungs, Places(rungs.settings.slots + WAITING_MAX))

    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    app.add_api_route("/healthz", healthz, methods=["GET"])
    for path, make in SURFACES.items():
        if path != "/":  # a mount answers below its path only, and what people type has no slash at its end
            app.add_route(path, lambda request: RedirectResponse(f"{request.url.path}/"), include_in_schema=False)
        app = _mounted(app, make(rungs), path, rungs)
    # with no origin allowed; present so that Gradio, which reflects any origin on its own, leaves it to us
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(_Doorkeeper, port=port)  # last, so outermost: it sees every request first
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

        signal.signal(signal.SIGTERM, _leave)  # uvicorn raises it again once it has stopped
        rungs = build(settings)
        try:
            rungs.traces.close_open()
            if settings.demo:
                load_demo(rungs)
            port = listener.getsockname()[1]
            url = f"http://{_bracketed(settings.host)}:{port}"
            with announced(settings.home, url) as server:
                app = create_app(rungs, server.token, port)
                app.router.lifespan_context = _announcing(app.router.lifespan_context, url)
                config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10, server_header=False)
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            rungs.close()


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


def _mounted(app: FastAPI, blocks: Any, path: str, rungs: Rungs) -> FastAPI:
    import gradio as gr

    blocks.queue(max_size=WAITING_MAX, default_concurrency_limit=rungs.settings.slots + 6, api_open=False)
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
        path,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size="1kb" if path == "/" else ROWS_FILE_MAX,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        favicon_path=str(STATIC / "icon.svg") if path == "/" else None,
        theme=gr.themes.Soft(
            primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css_paths=[STATIC / "rungs.css"],
        head=f"<script>{(STATIC / 'keys.js').read_text(encoding='utf-8')}</script>",
    )
    return mounted


class _Doorkeeper:
    """ASGI: refuses a foreign Host or Origin, and puts the security headers on every response."""

    def __init__(self, app: Any, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        if not _is_own(host, self._port) or origin not in ("", f"http://{host}"):
            await _refuse(send, scope["type"])
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.decode().title() not in HEADERS]
                message["headers"] = kept + [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        await self._app(scope, _bounded(receive) if scope["path"].startswith("/v1/") else receive, with_headers)


def _bounded(receive: Any) -> Any:
    """A request's body up to `BODY_BYTES`; what goes on after that counts as a client that left."""
    seen = 0

    async def bounded() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > BODY_BYTES else message

    return bounded


async def _refuse(send: Any, kind: str) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b"This address is not served here. Open the one that `rungs serve` printed.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_own(host: str, port: int) -> bool:
    """True for a Host header that names this machine's loopback and our port; browsers leave out port 80."""
    named = HOST.fullmatch(host)
    return named is not None and _is_loopback(named["name"].strip("[]")) and int(named["port"] or 80) == port


def _is_loopback(host: str) -> bool:
    """True for localhost, 127.0.0.0/8 and ::1: what is served, and what a Host header may say."""
    try:
        return host.lower() == "localhost" or ("%" not in host and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def _check_address(settings: Settings) -> None:
    if not _is_loopback(settings.host):
        raise AssistantError(
            f"host {settings.host}: only loopback (127.0.0.1, ::1, localhost) is served, since there are no accounts "
            "yet and everybody who reaches the page could read every question. Leave --host out."
        )


@asynccontextmanager
async def _nothing(_app: Any) -> AsyncIterator[None]:
    yield


def _announcing(inner: Any, url: str) -> Any:
    """The application's lifespan, which says where it is once it is up."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with (inner or _nothing)(app) as state:
            typer.echo(f"Rungs is ready: {url}   (console: {url}/console; stop with Ctrl-C)")
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
