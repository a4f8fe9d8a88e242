"""The owner's page in a real browser: what was asked, how it ended, and one trace at full depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.ui.browsing import (
    MILLISECONDS,
    SCRIPTED,
    Served,
    chromium,
    scripted_site,
    served,
    visiting,
)

pytestmark = pytest.mark.browser
LAMP = "How is a lamp switched on?"
HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png)"
expect.set_options(timeout=MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("console")) as site:
        yield site


@pytest.fixture(scope="module")
def asked(site: Served, browser: Browser) -> Served:
    with visiting(browser, site.url) as visit:
        visit.ask(LAMP)
        visit.ask(HOSTILE)
        visit.ask("I want to talk to a human")
    return site


def test_an_empty_console_says_so(tmp_path: Path, browser: Browser) -> None:
    with served(tmp_path / "home", SCRIPTED) as site, visiting(browser, site.url, "/console/") as visit:
        expect(visit.page.locator("body")).to_contain_text("No question has been asked yet")
        expect(visit.page.locator("#told")).to_contain_text("No question matches")
        visit.page.get_by_role("tab", name="Knowledge").click()
        expect(visit.page.locator("body")).to_contain_text("Nothing is known yet")


def test_questions_are_listed_with_level_outcome_and_shares(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        row = visit.page.locator("#questions .virtual-row").filter(has_text=LAMP).last
        expect(row).to_contain_text("rag")
        expect(row).to_contain_text("answered")
        expect(row).to_contain_text("%")
        expect(visit.page.locator("#told")).to_contain_text("3 questions")
        expect(visit.page.locator(".bars")).to_contain_text("From the documents")
        width = visit.page.locator(".bar.rag").evaluate("bar => bar.offsetWidth")
        assert width > 0
        assert visit.errors == []


def test_a_filter_narrows_the_list(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        expect(visit.page.locator("#told")).to_contain_text("3 questions")
        visit.page.get_by_label("Question contains").fill("lamp")
        visit.page.get_by_label("Question contains").press("Enter")
        expect(visit.page.locator("#told")).to_contain_text("1 question")
        expect(visit.page.locator("#questions [role=gridcell]").filter(has_text="human")).to_have_count(0)


def test_a_row_opens_its_trace_at_full_depth(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        visit.page.locator("#questions [role=gridcell]").filter(has_text=LAMP).last.click()
        trace = visit.page.locator("#trace .trace")
        for told in (LAMP, "Attempts", "Signals", "Passages", "Versions", "Threshold", "scripted", "lamps.md"):
            expect(trace).to_contain_text(told)


def test_a_hostile_question_is_only_words(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        cell = visit.page.locator("#questions [role=gridcell]").filter(has_text="onerror").last
        expect(cell).to_contain_text("<img src=x")
        cell.click()
        expect(visit.page.locator("#trace h3")).to_have_text(HOSTILE)
        assert visit.page.locator("#trace img, #questions img, #trace a").count() == 0
        assert visit.dialogs == []
        assert visit.hosts == {asked.url.split("/")[2]}


def test_who_waits_for_a_person_is_listed(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        visit.page.get_by_role("tab", name="Hand-offs").click()
        expect(visit.page.locator("body")).to_contain_text("the visitor asked for a person")
