"""What the browser's tests share: a served home in a process of its own, and a Chromium that notes what it asks for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.absent import absent
from tests.ui.serving import write_pages

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
RUNGS = "from ui.cli.main import main; main()"
MILLISECONDS = 60_000
START_SECONDS = 180
ACCEPTS_RAG = {
    "levels": {
        "rag": {
            "signals": ["sentence_top"],
            "mean": [0.5],
            "scale": [0.15],
            "weights": [1.5],
            "bias": 1.5,
            "threshold": 0.1,
            "belongs_to": {},
            "facts": {},
        }
    },
    "needs_no_document": None,
    "max_wrong": 0.2,
    "rag_answers_by": "quoting",
    "made_from": "a test",
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, headless; a machine without one skips, except on CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        absent("Chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def until(page: Page, script: str) -> None:
    """Wait for a script to be true; `wait_for_function` would evaluate it in the page, which a strict CSP forbids."""
    deadline = time.monotonic() + MILLISECONDS / 1000
    while not page.evaluate(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        page.wait_for_timeout(50)


@dataclass
class Visit:
    """A page, and what it did that a test may want to know."""

    page: Page
    context: BrowserContext
    hosts: set[str] = field(default_factory=set)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Type a question, press Enter, and wait until its answer stands with the climb folded away."""
        before = self.answers()
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")
        self.finished(before + 1)

    def answers(self) -> int:
        return self.page.locator("#chat .bot-row").count()

    def finished(self, count: int) -> None:
        """Wait for so many answers, the last of them whole."""
        self.page.wait_for_function(
            "n => document.querySelectorAll('#chat .bot-row').length === n"
            " && !document.querySelector('#chat .climbing, #chat .writing')"
            " && document.querySelectorAll('#chat .answer').length === n"
            " && !(document.querySelector('#stop')?.offsetParent)",
            arg=count,
        )

    def last(self) -> Any:
        return self.page.locator("#chat .bot-row").last


@contextmanager
def visiting(browser: Browser, url: str, path: str = "/", **options: Any) -> Iterator[Visit]:
    """A fresh visitor on a page that is ready to be used."""
    context = browser.new_context(**options)
    context.set_default_timeout(MILLISECONDS)
    page = context.new_page()
    visit = Visit(page, context)
    page.on("request", lambda request: visit.hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
    page.on("dialog", lambda dialog: (visit.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.goto(url + path)
    page.wait_for_selector("#question textarea" if path == "/" else ".bars, .empty")
    if path == "/":
        page.wait_for_function("document.querySelector('#status')?.innerText.trim()")
    yield visit
    context.close()


@dataclass(frozen=True)
class Served:
    url: str
    home: Path


def ingest(home: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Documents into a home that nobody serves."""
    command = [sys.executable, "-c", RUNGS, "ingest", str(folder), "--home", str(home)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SCRIPTED = {"RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}


@contextmanager
def scripted_site(folder: Path) -> Iterator[Served]:
    """The tests' pages, served on the scripted model with a level rag that accepts."""
    home = folder / "home"
    home.mkdir()
    (home / "calibration.json").write_text(json.dumps(ACCEPTS_RAG))
    ingest(home, write_pages(folder / "pages"), SCRIPTED)
    with served(home, SCRIPTED) as site:
        yield site


@contextmanager
def served(home: Path, environment: Mapping[str, str], program: str = "") -> Iterator[Served]:
    """`rungs serve` on a free port, or a program that serves; the address comes out of `server.json`."""
    command = [sys.executable, "-c", program or RUNGS, "serve", "--port", "0", "--home", str(home)]
    log = (home.parent / f"{home.name}.log").open("w+")
    with log, subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while "ready" not in Path(log.name).read_text():
                assert process.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.1)
            yield Served(json.loads((home / "server.json").read_text())["url"], home)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def two_processes(folder: Path, database: str, index: str, **more: str) -> Iterator[tuple[Served, Served]]:
    """Two servers with homes of their own over one PostgreSQL and one Chroma server, on the scripted model."""
    settings = {**SCRIPTED, "RUNGS_DATABASE": database, "RUNGS_CHROMA": index, **more}
    homes = folder / "one" / "home", folder / "other" / "home"
    for home in homes:
        home.mkdir(parents=True)
        (home / "calibration.json").write_text(json.dumps(ACCEPTS_RAG))
    with served(homes[0], settings) as one, served(homes[1], settings) as other:
        yield one, other
