"""The agents' page in a real browser: a visitor is handed off, an agent takes over, edits the draft and sends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from assistant.bulletin import Bulletin
from assistant.corrections import CorrectionStore
from assistant.desk import Desk
from assistant.traces import TraceStore
from knowledge.database import open_engine
from tests.ui.browsing import MILLISECONDS, SCRIPTED, Served, chromium, ingest, scripted_site, served, visiting
from tests.ui.serving import write_pages
from ui.access.doors import COOKIE
from ui.access.people import People

pytestmark = pytest.mark.browser
LAMP = "How is a lamp switched on?"
PERSON = "I want to talk to a human"
HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) ${alert(2)} {{alert(3)}}"
GOOD = "correct horse battery"
expect.set_options(timeout=MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    with scripted_site(tmp_path) as site:
        yield site


@contextmanager
def memory(site: Served) -> Iterator[Engine]:
    """The site's database, read beside it."""
    engine = open_engine(f"sqlite:///{site.home / 'rungs.db'}")
    yield engine
    engine.dispose()


@contextmanager
def agent(browser: Browser, site: Served, session: str = "") -> Iterator[Page]:
    """An agent's page, and that it asked nobody but its own server for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(MILLISECONDS)
    own = site.url.split("/")[2]
    if session:
        context.add_cookies([{"name": COOKIE, "value": session, "url": site.url}])
    page, hosts, wrong = context.new_page(), set[str](), list[str]()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.goto(f"{site.url}/copilot/")
    expect(page.locator("#copilot-rows :is(.empty, .desk-row)").first).to_be_visible()
    yield page
    assert hosts == {own} and wrong == []
    context.close()


def hand_off(browser: Browser, site: Served, *texts: str) -> None:
    with visiting(browser, site.url) as visit:
        for text in (*texts, PERSON):
            visit.ask(text)


def open_first(page: Page) -> None:
    page.locator(".desk-row").first.click()
    expect(page.locator(".desk-thread")).to_be_visible()


def test_a_visitor_is_answered_by_an_agent_who_edited_the_draft(site: Served, browser: Browser) -> None:
    with agent(browser, site) as page:
        expect(page.locator("#copilot-rows")).to_contain_text("Nobody is waiting")
        hand_off(browser, site, LAMP)
        row = page.locator(".desk-row").first
        expect(row).to_contain_text("asked for a person")
        page.keyboard.press("j")
        expect(row).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".desk-thread")).to_contain_text(LAMP)
        expect(page.locator("#copilot-draft")).to_contain_text("red lever")
        expect(page.locator("#copilot-draft .sources")).to_contain_text("Lamps")
        page.keyboard.press("t")
        expect(page.locator("#copilot-head")).to_contain_text("you have it")
        page.keyboard.press("u")
        reply = page.locator("#copilot-reply textarea")
        expect(reply).to_have_value(re.compile("red lever"))
        page.keyboard.press("e")
        expect(reply).to_be_focused()
        page.keyboard.press("End")
        page.keyboard.type(" Call me if it stays dark.")
        page.keyboard.press("Control+Enter")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#copilot-told")).to_contain_text(re.compile(r"You changed \d+% of the draft"))
        expect(page.locator(".desk-said.agent")).to_contain_text("stays dark")
        expect(page.locator(".desk-said.agent")).to_have_count(1)
        with memory(site) as engine:
            (kept,) = CorrectionStore(engine).find()
            (had,) = Desk(engine, Bulletin(engine)).inbox()
            assert kept.source == "copilot" and 0 < kept.distance < 1 and had.agent == "owner"
        page.locator("#copilot-head").click()
        page.keyboard.press("Escape")
        page.keyboard.press("r")
        expect(page.locator("#copilot-head")).to_contain_text("resolved by owner")


def test_what_is_hostile_is_only_words_and_a_bad_answer_is_reported(site: Served, browser: Browser) -> None:
    hand_off(browser, site, HOSTILE, LAMP)
    with agent(browser, site) as page:
        open_first(page)
        expect(page.locator(".desk-thread")).to_contain_text("<img src=x onerror=alert(1)>")
        expect(page.locator(".desk-thread")).to_contain_text("${alert(2)} {{alert(3)}}")
        page.keyboard.press("n")
        note = page.locator("#copilot-note textarea")
        note.fill(HOSTILE)
        page.locator("#copilot-note-keep").click()
        expect(page.locator(".desk-said.note")).to_contain_text("<img src=x")
        page.locator("[data-report$=':outdated']").last.click()
        expect(page.locator("#copilot-told")).to_contain_text("Reported as outdated")
        expect(page.locator(".desk-thread")).to_contain_text("Reported by an agent: outdated")
        assert page.locator("#copilot img, #copilot a[href]").count() == 0
        with memory(site) as engine:
            (found,) = (t for t in TraceStore(engine).find(text=LAMP) if t.feedback == -1)
            assert [f.reason for f in TraceStore(engine).feedback(found.id)] == ["agent: outdated"]


def test_two_agents_see_each_other_and_one_of_them_writes(tmp_path: Path, browser: Browser) -> None:
    home = tmp_path / "home"
    ingest(home, write_pages(tmp_path / "pages"), SCRIPTED)
    engine = open_engine(f"sqlite:///{home / 'rungs.db'}")
    people = People(engine)
    for name, role in (("owen", "owner"), ("ann", "agent"), ("bob", "agent")):
        people.add(name, role, GOOD)  # type: ignore[arg-type]
    sessions = {name: people.log_in(name, GOOD) or "" for name in ("ann", "bob")}
    engine.dispose()
    with served(home, SCRIPTED) as site:
        hand_off(browser, site, LAMP)
        with agent(browser, site, sessions["ann"]) as ann, agent(browser, site, sessions["bob"]) as bob:
            open_first(ann)
            open_first(bob)
            ann.locator("#copilot-take").click()
            expect(ann.locator("#copilot-head")).to_contain_text("you have it")
            expect(bob.locator("#copilot-head")).to_contain_text("ann has it")
            expect(bob.locator("#copilot-write")).to_be_hidden()
            bob.locator("label", has_text="Others").click()
            expect(bob.locator(".desk-row")).to_contain_text("ann")
            expect(bob.locator(".desk-row")).to_contain_text("ann looking")


def test_keys_are_listed_and_the_page_has_no_serious_fault_for_a_screen_reader(site: Served, browser: Browser) -> None:
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
    hand_off(browser, site, LAMP)
    with agent(browser, site) as page:
        page.keyboard.press("?")
        expect(page.locator("#copilot-help")).to_contain_text("take it over")
        page.keyboard.press("Escape")
        expect(page.locator("#copilot-help")).to_be_hidden()
        open_first(page)
        page.locator("#copilot-take").click()
        expect(page.locator("#copilot-reply textarea")).to_be_visible()
        page.evaluate(axe)
        found = page.evaluate("axe.run().then(run => run.violations)")
        serious = [
            (v["id"], [n["html"][:160] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")
        ]
        assert serious == []
