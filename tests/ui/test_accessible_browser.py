"""What axe finds on the visitor's, the owner's and the log-in page; the copilot's and the widget's tests ask it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from knowledge.database import open_engine
from tests.ui.accessibility import assert_accessible
from tests.ui.browsing import MILLISECONDS, SCRIPTED, Served, chromium, scripted_site, served, visiting
from tests.ui.console.consoles import open_tab
from ui.access.people import People

pytestmark = pytest.mark.browser
LAMP = "How is a lamp switched on?"
SCHEMES = ("light", "dark")
TABS = (
    "Overview Conversations Hand-offs Unanswered Knowledge Adaptation Sites People Settings"
).split()  # fmt: skip
expect.set_options(timeout=MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("accessible")) as site:
        with visiting(browser, site.url) as visit:
            visit.ask(LAMP)
            visit.ask("I want to talk to a human")
        yield site


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_chat_page_empty_and_answered(site: Served, browser: Browser, scheme: Any) -> None:
    with visiting(browser, site.url, color_scheme=scheme) as visit:
        assert_accessible(visit.page)
        visit.ask(LAMP)
        visit.page.locator("details.source summary").first.click()
        assert_accessible(visit.page)
        visit.ask("I want to talk to a human")
        assert_accessible(visit.page)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_tab_of_the_console(site: Served, browser: Browser, scheme: Any) -> None:
    with visiting(browser, site.url, "/console/", color_scheme=scheme) as visit:
        for tab in TABS:
            open_tab(visit.page, tab)
            settled(visit.page)
            if tab == "Conversations":
                visit.page.locator("#questions button").filter(has_text=LAMP).first.click()
                expect(visit.page.locator("#trace .story, #trace .trace").first).to_be_visible()
            assert_accessible(visit.page)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_log_in_page_and_what_it_refuses(browser: Browser, scheme: Any, people: Served) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{people.url}/console/")
    page.get_by_label("Name").wait_for()
    assert_accessible(page)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("a wrong password")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert_accessible(page)
    context.close()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("people")
    with served(folder / "home", SCRIPTED) as site:
        engine = open_engine(f"sqlite:///{site.home / 'rungs.db'}")
        People(engine).add("ann", "owner", "a long and good password")
        engine.dispose()
        yield site


def settled(page: Page) -> None:
    """Until nothing is loading; a tab that fades in has less contrast than it will have."""
    expect(page.locator(".generating, .pending")).to_have_count(0)
    page.wait_for_timeout(500)
