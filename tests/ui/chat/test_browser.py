"""The chat page in a real Chromium: ask, watch the climb, open a source, rate, stop, reload, on a phone."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect

from assistant.build import Rungs, build
from assistant.settings import Settings
from knowledge.ingest import ingest
from tests.ui import browsing
from tests.ui.serving import write_pages
from ui.server import create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),  # gradio's queue counts with pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

WAIT = 30_000
LAMP = "How is a lamp switched on?"
TRUSTED = {
    "levels": {
        "rag": {
            "signals": ["sentence_top"],
            "mean": [0.5],
            "scale": [0.15],
            "weights": [0.0],
            "bias": 2.5,
            "threshold": 0.4,
            "belongs_to": {},
            "facts": {},
        }
    },
    "needs_no_document": None,
    "max_wrong": 0.2,
    "rag_answers_by": "quoting",
    "made_from": "this test",
}
"""Accepts whatever level rag drafts, so that a page shows an answer with its sources."""


@contextmanager
def site(
    folder: Path, calibration: dict[str, Any] | None = None, port: int = 0, **settings: Any
) -> Iterator[tuple[Rungs, str]]:
    """The whole application over three small pages; a folder that was served before is served again."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    if calibration:
        (home / "calibration.json").write_text(json.dumps(calibration))
    rungs = build(Settings(home=home, demo=False, **{"model": "scripted", "embedder": "hash"} | settings))
    list(ingest(rungs.store, [write_pages(folder / "pages")]))
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", port))
        port = door.getsockname()[1]
        config = uvicorn.Config(create_app(rungs, "token", port), log_level="warning", timeout_graceful_shutdown=2)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not running.started:
                time.sleep(0.01)
            yield rungs, f"http://127.0.0.1:{port}"
        finally:
            running.should_exit = True
            thread.join()
            rungs.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rungs, str]]:
    with site(tmp_path_factory.mktemp("chat"), TRUSTED) as running:
        yield running


@pytest.fixture
def context(browser: Browser, served: tuple[Rungs, str]) -> Iterator[BrowserContext]:
    """A visitor of their own. Whatever their page asked of another host fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(WAIT)
    requested: list[str] = []
    context.on("request", lambda request: requested.append(request.url))
    yield context
    context.close()
    own = (served[1], "data:", "blob:")
    assert requested and not [url for url in requested if not url.startswith(own)]


@pytest.fixture
def page(context: BrowserContext, served: tuple[Rungs, str]) -> Page:
    return opened(context, served[1])


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#question textarea")).to_be_editable(timeout=WAIT)
    expect(page.locator("#status")).to_contain_text("explored", timeout=WAIT)
    return page


def ask(page: Page, text: str, answers: int = 1) -> None:
    page.locator("#question textarea").fill(text)
    page.keyboard.press("Enter")
    wait_for_answers(page, answers)


def wait_for_answers(page: Page, answers: int) -> None:
    expect(page.locator("details.climb")).to_have_count(answers, timeout=WAIT)
    expect(page.locator("#stop")).to_be_hidden()


def eventually(true: Callable[[], Any], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def slow_words(rungs: Rungs, monkeypatch: pytest.MonkeyPatch) -> list[threading.Event]:
    """Level rag writes a word every tenth of a second without end. Returns the cancel events it was given."""
    from assistant.levels.rag import Rag
    from assistant.types import Attempt, Words

    seen: list[threading.Event] = []

    def endless(self: Any, question: Any, evidence: Any, cancel: threading.Event) -> Iterator[Words | Attempt]:
        seen.append(cancel)
        while not cancel.wait(0.1):
            yield Words("lever ")
        yield Attempt("rag")

    monkeypatch.setattr(Rag, "attempt", endless)
    return seen


def test_an_answer_shows_its_level_its_confidence_and_its_sources(page: Page) -> None:
    ask(page, LAMP)
    answer = page.locator(".answer")
    expect(answer.locator(".badge")).to_have_text("From the documents")
    expect(answer.locator(".sure")).to_contain_text("%")
    expect(answer.locator("p").first).to_contain_text("red lever")
    source = answer.locator("details.source").first
    assert not source.locator("mark").is_visible()
    source.locator("summary").click()
    expect(source.locator("mark")).to_be_visible()
    expect(source.locator("mark")).to_contain_text("lever")
    page.locator("details.climb summary").click()
    expect(page.locator("details.climb li").first).to_be_visible()


def test_what_is_suggested_can_be_tapped_and_counts_as_explored(page: Page) -> None:
    suggestion = page.locator("#chat button.example").first
    text = suggestion.inner_text().strip()
    suggestion.click()
    wait_for_answers(page, 1)
    expect(page.locator("[data-testid=user]")).to_contain_text(text)
    expect(page.locator("#status")).to_contain_text("1 of ")
    page.locator("#chat .options button").first.click()
    wait_for_answers(page, 2)
    expect(page.locator("#status")).to_contain_text("2 of ")


def test_a_thumb_down_asks_for_a_reason_and_both_are_kept(page: Page, served: tuple[Rungs, str]) -> None:
    ask(page, LAMP)
    page.get_by_label("Dislike").click()
    page.get_by_label("Out of date").check()
    page.locator("#reason-box textarea, #reason-box input[type=text]").fill("the lever is blue now")
    page.locator("#reason-box").get_by_role("button", name="Send").click()
    expect(page.locator("#reason-box:visible")).to_have_count(0)
    traces = served[0].traces
    newest = traces.find(limit=1)[0]
    eventually(lambda: traces.feedback(newest.id))
    thumbs = traces.feedback(newest.id)
    assert thumbs[-1].value == -1 and "Out of date: the lever is blue now" in [thumb.reason for thumb in thumbs]


@pytest.mark.parametrize("how", ["button", "escape", "leave"])
def test_stop_reaches_the_engine_at_once(
    how: str, page: Page, served: tuple[Rungs, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancels = slow_words(served[0], monkeypatch)
    page.locator("#question textarea").fill(f"{LAMP} ({how})")
    page.keyboard.press("Enter")
    expect(page.locator(".answer.writing")).to_contain_text("lever lever", timeout=WAIT)
    if how == "button":
        page.locator("#stop").click()
    elif how == "escape":
        page.keyboard.press("Escape")
    else:
        page.close()
    eventually(lambda: cancels[0].is_set(), 3.0)
    summary = served[0].traces.find(text=f"({how})", limit=1)[0]
    eventually(lambda: served[0].traces.find(text=f"({how})", limit=1)[0].status == "interrupted", 3.0)
    assert summary.outcome is None
    if how != "leave":
        expect(page.locator(".answer")).to_contain_text("Stopped.")
        expect(page.locator("#stop")).to_be_hidden()


def test_a_stopped_question_is_replaced_by_its_retry(
    page: Page, served: tuple[Rungs, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as slow:
        slow_words(served[0], slow)
        page.locator("#question textarea").fill(LAMP)
        page.keyboard.press("Enter")
        expect(page.locator(".answer.writing")).to_contain_text("lever", timeout=WAIT)
        page.keyboard.press("Escape")
        expect(page.locator(".answer")).to_contain_text("Stopped.")
        expect(page.locator("#stop")).to_be_hidden()
    page.get_by_label("Retry").click()
    expect(page.locator(".badge")).to_have_text("From the documents")
    page.reload()
    expect(page.locator(".badge")).to_have_text("From the documents")
    expect(page.locator("[data-testid=user]")).to_have_count(1)


def test_a_new_chat_gives_up_what_is_being_written(
    page: Page, served: tuple[Rungs, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancels = slow_words(served[0], monkeypatch)
    page.locator("#question textarea").fill(LAMP)
    page.keyboard.press("Enter")
    expect(page.locator(".answer.writing")).to_contain_text("lever", timeout=WAIT)
    page.locator("#question textarea").fill("And a kettle?")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("One answer at a time")
    expect(page.locator("#question textarea")).to_have_value("And a kettle?")
    page.locator("#fresh").click()
    eventually(lambda: cancels[0].is_set(), 3.0)
    expect(page.locator("[data-testid=user]")).to_have_count(0)
    time.sleep(1.0)
    expect(page.locator("[data-testid=user]")).to_have_count(0)


def test_a_question_can_be_edited_and_asked_anew(page: Page, served: tuple[Rungs, str]) -> None:
    ask(page, "How often is a kettle *descaled* & <b>why</b>?")
    expect(page.locator("[data-testid=user]")).to_have_text("How often is a kettle *descaled* & <b>why</b>?")
    page.get_by_label("Edit").click()
    editor = page.locator("#chat textarea")
    editor.fill("How is a lamp switched on & by *whom*?")
    page.get_by_label("Submit").click()
    expect(page.locator("[data-testid=user]")).to_have_text("How is a lamp switched on & by *whom*?")
    wait_for_answers(page, 1)
    assert served[0].traces.find(limit=1)[0].question == "How is a lamp switched on & by *whom*?"


def test_conversations_are_kept_for_their_visitor_alone(
    page: Page, browser: Browser, served: tuple[Rungs, str]
) -> None:
    ask(page, "How often is a kettle descaled?")
    page.reload()
    expect(page.locator(".badge")).to_have_count(1)
    page.locator("#fresh").click()
    expect(page.locator("[data-testid=user]")).to_have_count(0)
    page.get_by_label("Toggle Sidebar").click()
    page.locator("#conversation-list label").filter(has_text="kettle").click()
    expect(page.locator(".answer")).to_contain_text("citric acid")
    other = browser.new_context()
    try:
        stranger = opened(other, served[1])
        expect(stranger.locator("#conversation-list label")).to_have_count(0)
        expect(stranger.locator("[data-testid=user]")).to_have_count(0)
    finally:
        other.close()


def test_a_person_can_be_asked_for_at_any_time(page: Page, served: tuple[Rungs, str]) -> None:
    ask(page, LAMP)
    page.locator("#contact").click()
    page.locator("#contact-box textarea").fill("my lamp is on fire")
    page.get_by_role("button", name="Pass this conversation").click()
    expect(page.locator("#status")).to_contain_text("Somebody from support will read")
    (waiting,) = served[0].desk.inbox("waiting")
    assert waiting.note == "my lamp is on fire" and waiting.title == LAMP


def test_shift_enter_breaks_the_line_and_an_empty_question_is_refused_in_words(page: Page) -> None:
    box = page.locator("#question textarea")
    box.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Type a question first")
    box.type("one")
    page.keyboard.press("Shift+Enter")
    box.type("two")
    expect(box).to_have_value("one\ntwo")


def test_copying_an_answer_copies_words(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, LAMP)
    page.locator(".bot-row").get_by_label("Copy message").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "red lever" in copied and "<" not in copied


def test_every_button_has_a_name_and_no_label_holds_markup(page: Page) -> None:
    ask(page, LAMP)
    nameless = page.evaluate(
        "[...document.querySelectorAll('button')].filter(b => b.offsetParent && "
        "!(b.innerText.trim() || b.ariaLabel || b.title)).map(b => b.outerHTML)"
    )
    assert nameless == []
    assert page.locator("[aria-label*='<']").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    scheme: Any, browser: Browser, served: tuple[Rungs, str]
) -> None:
    phone = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    try:
        page = opened(phone, served[1])
        for shown in ("empty", "answered"):
            if shown == "answered":
                ask(page, LAMP)
                page.locator("details.source summary").first.click()
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360, (shown, wide)
            expect(page.locator("#contact")).to_be_in_viewport()
            expect(page.locator("#question textarea")).to_be_in_viewport()
    finally:
        phone.close()


# guarded and kept: a server of its own process

SCRIPTED = {"RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}
ATTACK = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) [go](javascript:alert(1)) <https://evil.test>"
HOSTILE_PAGE = (
    "# Trams\n\nA tram is stopped with the green pedal <img src=x onerror=alert(1)> ![x](https://evil.test/x.png) "
    "[go](javascript:alert(1)) `</code><script>alert(1)</script>` https://evil.test/track now.\n"
)


def home_with(folder: Path, pages: Path, environment: dict[str, str]) -> Path:
    """A home that knows some pages and accepts what level rag drafts."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "calibration.json").write_text(json.dumps(TRUSTED))
    browsing.ingest(home, pages, environment)
    return home


def test_hostile_documents_and_questions_are_only_words(tmp_path: Path, browser: Browser) -> None:
    pages = write_pages(tmp_path / "pages")
    (pages / "trams.md").write_text(HOSTILE_PAGE)
    home = home_with(tmp_path, pages, SCRIPTED)
    with browsing.served(home, SCRIPTED) as site, browsing.visiting(browser, site.url) as visit:
        visit.ask("How is a tram stopped with the green pedal?")
        expect(visit.last()).to_contain_text("</code><script>alert(1)</script>")
        for summary in visit.last().locator("details.source summary").all():
            summary.click()
        visit.ask(ATTACK)
        expect(visit.page.locator("#chat .user-row").last).to_contain_text(ATTACK)
        visit.page.reload()
        expect(visit.page.locator("#chat .user-row").last).to_contain_text(ATTACK, timeout=WAIT)
        assert visit.page.locator("#chat :is(img, a, script, iframe)").count() == 0
        assert visit.dialogs == [] and visit.errors == []
        assert visit.hosts == {site.url.split("/")[2]}


def test_a_conversation_outlives_its_server(tmp_path: Path, browser: Browser) -> None:
    home = home_with(tmp_path, write_pages(tmp_path / "pages"), SCRIPTED)
    with browsing.served(home, SCRIPTED) as site, browsing.visiting(browser, site.url) as visit:
        visit.ask(LAMP)
        visit.page.wait_for_function("localStorage.getItem('rungs-conversation')")
        kept = {k: visit.page.evaluate(f"localStorage.getItem('rungs-{k}')") for k in ("visitor", "conversation")}
    with browsing.served(home, SCRIPTED) as site:
        origin = {
            "origin": site.url,
            "localStorage": [{"name": f"rungs-{name}", "value": value} for name, value in kept.items()],
        }
        with browsing.visiting(browser, site.url, storage_state={"cookies": [], "origins": [origin]}) as visit:
            expect(visit.page.locator("#chat .user-row")).to_contain_text(LAMP, timeout=WAIT)
            expect(visit.last()).to_contain_text("red lever")
            expect(visit.last().locator(".badge")).to_have_text("From the documents")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.locator("#question textarea").focus()
    page.keyboard.type(LAMP)
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    source = page.locator("details.source summary").first
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if source.evaluate("summary => summary === document.activeElement"):
            break
    else:
        pytest.fail("the first source cannot be reached by Tab")
    page.keyboard.press("Enter")
    expect(page.locator("details.source .passage mark").first).to_be_visible()


def test_words_can_be_read_in_the_dark(browser: Browser, served: tuple[Rungs, str]) -> None:
    with browsing.visiting(browser, served[1], color_scheme="dark") as visit:
        visit.ask(LAMP)
        for part in (".answer p", ".sure", ".sources-title", "details.source summary", "details.climb summary"):
            contrast = visit.last().locator(part).first.evaluate(CONTRAST)
            assert contrast >= 4.5, (part, contrast)


CONTRAST = """element => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  while (behind.parentElement) {
    const [r, g, b, a = 1] = numbers(getComputedStyle(behind).backgroundColor);
    if (a === 1) break;
    behind = behind.parentElement;
  }
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
    .map(c => light(numbers(c)) + 0.05);
  return Math.max(a, b) / Math.min(a, b);
}"""
"""WCAG 2 contrast of an element's words against what is behind them."""


@pytest.mark.engine
def test_the_real_model_answers_with_sources_and_the_page_keeps_it(
    tmp_path: Path, browser: Browser, weights: Path
) -> None:
    real = {"RUNGS_MODEL": "embedded", "RUNGS_EMBEDDER": "minilm", "RUNGS_DEMO": "false"}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / weights.parent.name).symlink_to(weights.parent)
    home = home_with(tmp_path, write_pages(tmp_path / "pages"), real)
    with browsing.served(home, real) as site, browsing.visiting(browser, site.url) as visit:
        visit.ask(LAMP)
        visit.last().locator("details.source summary").first.click()
        expect(visit.last().locator(".passage mark").first).to_contain_text("red lever")
        visit.last().get_by_label("Like", exact=True).click()
        expect(visit.page.locator("#status")).to_contain_text("Thank you")
        visit.page.reload()
        expect(visit.page.locator("#chat .user-row")).to_contain_text(LAMP, timeout=WAIT)
        expect(visit.last().locator(".badge")).to_be_visible()
        with sqlite3.connect(home / "rungs.db") as database:
            assert database.execute("select value from feedback").fetchall() == [(1,)]
        database.close()


def test_conversations_outlive_a_restart(tmp_path: Path, browser: Browser) -> None:
    visitor = browser.new_context()
    try:
        with site(tmp_path, TRUSTED) as (_, url):
            page = opened(visitor, url)
            ask(page, LAMP)
            page.close()
        with site(tmp_path, TRUSTED, port=int(url.rsplit(":", 1)[1])) as (_, url):
            page = opened(visitor, url)
            expect(page.locator(".badge")).to_have_text("From the documents", timeout=WAIT)
            page.close()
    finally:
        visitor.close()


@pytest.mark.engine
def test_the_real_model_answers_cites_stops_and_is_found_again(tmp_path: Path, browser: Browser, weights: Path) -> None:
    real = {"model": "embedded", "embedder": "minilm", "model_file": weights, "rag_answers_by": "generating"}
    visitor = browser.new_context(viewport={"width": 360, "height": 740})
    try:
        with site(tmp_path, TRUSTED, **real) as (rungs, url):
            page = opened(visitor, url)
            page.set_default_timeout(180_000)
            page.locator("#question textarea").fill(LAMP)
            page.keyboard.press("Enter")
            expect(page.locator(".climbing")).to_be_visible()
            expect(page.locator("details.climb")).to_have_count(1, timeout=180_000)
            expect(page.locator(".badge")).to_have_text("From the documents")
            page.locator("details.source summary").first.click()
            expect(page.locator("details.source mark").first).to_contain_text("lever")
            page.get_by_label("Like", exact=True).click()
            trace = rungs.traces.find(limit=1)[0]
            eventually(lambda: rungs.traces.feedback(trace.id))
            expect(page.locator("#stop")).to_be_hidden()
            page.locator("#question textarea").fill("How often is a kettle descaled, and with what?")
            page.keyboard.press("Enter")
            expect(page.locator("#stop")).to_be_visible()
            expect(page.locator(".climbing")).to_contain_text("Looking it up", timeout=60_000)
            page.keyboard.press("Escape")
            eventually(lambda: rungs.traces.find(limit=1)[0].status == "interrupted")
            page.reload()
            expect(page.locator(".badge")).to_have_count(1)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.close()
    finally:
        visitor.close()
