"""Content gaps in a real browser: found, answered so that the next asker gets it, ignored; hostile words stay words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.ui.browsing import MILLISECONDS, Served, chromium, scripted_site, visiting
from tests.ui.console.consoles import HOSTILE, open_tab

pytestmark = pytest.mark.browser
expect.set_options(timeout=MILLISECONDS)
WIFI = "Which password has the guest network?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("unanswered")) as site:
        with visiting(browser, site.url) as visit:
            for question in (WIFI, "I want to talk to a human", HOSTILE, "I want to talk to a human"):
                visit.ask(question)
        yield site


def test_a_gap_shows_its_questions_and_what_came_closest(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Unanswered")
        row = visit.page.locator("#gaps tr").filter(has_text=WIFI)
        expect(row.locator("td").nth(2)).to_have_text("1")
        row.locator("button").focus()
        visit.page.keyboard.press("Enter")
        shown = visit.page.locator("#gap-shown")
        expect(shown).to_contain_text("1× handed off")
        expect(shown).to_contain_text("Closest documents")
        expect(shown).to_contain_text("similarity")
        expect(visit.page.get_by_label("Question", exact=True)).to_have_value(WIFI)
        assert "talk to a human" not in visit.page.locator("#gaps").inner_text(), "that is no gap in the knowledge"
        assert visit.errors == []


def test_a_hostile_gap_is_only_words_also_as_csv(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Unanswered")
        row = visit.page.locator("#gaps button").filter(has_text="onerror")
        expect(row).to_have_text(HOSTILE)
        row.click()
        expect(visit.page.locator("#gap-shown h2")).to_have_text(HOSTILE)
        assert visit.page.locator("#gap-shown :is(img, a), #gaps img").count() == 0
        with visit.page.expect_download() as loading:
            visit.page.get_by_role("link", name="Download as CSV").click()
        assert WIFI in Path(loading.value.path()).read_text()
        assert visit.dialogs == [] and visit.hosts == {site.url.split("/")[2]}


def test_a_written_answer_is_what_the_next_asker_gets(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "Unanswered")
        page.locator("#gaps button").filter(has_text=WIFI).click()
        page.click("#gap-write")
        expect(page.locator("#gap-done")).to_contain_text("the answer is empty")
        page.locator("#gaps button").filter(has_text=WIFI).click()
        page.fill("#gap-text textarea", "The guest network has the password open sesame.")
        page.get_by_label("Also measure with it").check()
        page.get_by_label("Also train with it").check()
        page.click("#gap-write")
        expect(page.locator("#gap-done")).to_contain_text("1 golden rows and an example that waits for review")
        expect(page.locator("#gaps button").filter(has_text=WIFI)).to_have_count(0)
        assert WIFI in (site.home / "golden.jsonl").read_text()
    with visiting(browser, site.url) as visit:
        visit.ask(WIFI)
        expect(visit.last()).to_contain_text("open sesame")
    with visiting(browser, site.url, "/console/") as visit:
        expect(visit.page.locator(".chips")).to_contain_text("1 correction waits for review")


def test_what_is_ignored_leaves_the_list_and_can_be_brought_back(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "Unanswered")
        gap = page.locator("#gaps button").filter(has_text="onerror")
        gap.click()
        page.click("#gap-ignore")
        expect(gap).to_have_count(0)
        page.get_by_label("Show what was ignored").check()
        gap.click()
        expect(page.locator("#gap-ignore")).to_have_text("Bring it back")
        page.click("#gap-ignore")
        expect(page.locator("#gap-done")).to_contain_text("Back in the list")
        page.get_by_label("Show what was ignored").uncheck()
        expect(gap).to_have_count(1)
