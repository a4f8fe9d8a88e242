"""Another host's page with the widget on it: the example site, on an origin of its own, and what happens on it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

EXAMPLE = Path(__file__).resolve().parents[3] / "ui" / "widget" / "example"
WAIT = 20_000
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """Any ASGI application on a free loopback port."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not running.started:
                time.sleep(0.01)
            yield int(door.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join()


@dataclass
class Host:
    """The example site. `attributes` go into its script tag, `frame` replaces the tag by a frame."""

    url: str = ""
    server: str = ""
    key: str = ""
    attributes: str = ""
    frame: bool = False

    def page(self, _request: Request) -> Response:
        """The page as its owner would have written it."""
        text = (EXAMPLE / "index.html").read_text(encoding="utf-8").replace("HOST", self.server)
        tag = f'data-site="{self.key}" {self.attributes}'
        assert 'data-site="KEY"' in text
        text = text.replace('data-site="KEY"', tag)
        if self.frame:
            text = text.replace("default-src 'none'", f"default-src 'none'; frame-src {self.server}")
            start, end = text.index("<script src"), text.index("</script>")
            framed = f'<iframe title="Support" src="{self.server}/widget/frame/{self.key}" width="400" height="600">'
            text = f"{text[:start]}{framed}</iframe>{text[end + 9 :]}"
        return HTMLResponse(text)


@contextmanager
def hosting() -> Iterator[Host]:
    """The example site under the name localhost: another origin, and another site, than 127.0.0.1."""
    host = Host()
    style = Route("/site.css", lambda _: FileResponse(EXAMPLE / "site.css"))
    with listening(Starlette(routes=[Route("/", host.page), style])) as port:
        host.url = f"http://localhost:{port}"
        yield host


@dataclass
class Caller:
    """A visitor of the host's page, and what their browser noted."""

    page: Page
    context: BrowserContext
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def launcher(self) -> Locator:
        return self.page.locator(".launcher")

    @property
    def panel(self) -> Locator:
        return self.page.locator(".panel")

    @property
    def input(self) -> Locator:
        return self.page.locator(".composer textarea")

    def open(self) -> None:
        self.launcher.click()

    def say(self, text: str) -> None:
        self.input.fill(text)
        self.input.press("Enter")

    def ask(self, text: str) -> Locator:
        """Ask, and wait for the whole answer."""
        before = self.page.locator(".entry.assistant:not(.writing) .foot").count()
        self.say(text)
        answer = self.page.locator(".entry.assistant:not(.writing)").nth(before)
        answer.locator(".foot").wait_for()
        return answer

    def kept(self, key: str) -> Any:
        """What the browser keeps for a site."""
        return json.loads(self.page.evaluate("key => localStorage.getItem(`rungs-widget:${key}`)", key) or "null")

    def check(self, *hosts: str) -> None:
        """Nothing ran, nothing broke the page's policy, nothing was asked of anybody else."""
        strangers = [url for url in self.requested if not url.startswith((*hosts, "data:", "blob:"))]
        violations = [] if self.page.is_closed() else self.page.evaluate("window.violations ?? []")
        assert (strangers, violations, self.errors, self.dialogs) == ([], [], [], [])
        assert self.context.cookies() == []


@contextmanager
def calling(browser: Browser, host: Host, *, wait: bool = True, script: str = "", **options: Any) -> Iterator[Caller]:
    """A fresh visitor on the host's page; what they did is checked when they leave."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}} | options)
    context.set_default_timeout(WAIT)
    context.add_init_script(WATCH + script)
    page = context.new_page()
    caller = Caller(page, context)
    context.on("request", lambda request: caller.requested.append(request.url))
    page.on("pageerror", lambda error: caller.errors.append(str(error)))
    page.on("console", lambda message: _note(caller, message))
    page.on("dialog", lambda dialog: (caller.dialogs.append(dialog.message), dialog.dismiss()))
    try:
        page.goto(host.url)
        if wait:
            caller.launcher.wait_for()
        yield caller
        caller.check(host.url, host.server)
    finally:
        context.close()


def _note(caller: Caller, message: ConsoleMessage) -> None:
    """What a page's owner would see as an error; a refused request is the business of the test that made it."""
    if message.type == "error" and not message.text.startswith("Failed to load resource"):
        caller.errors.append(message.text)
