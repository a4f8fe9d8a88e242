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
    Visit,
    chromium,
    scripted_site,
    served,
    visiting,
)
from tests.ui.console.consoles import open_tab

pytestmark = pytest.mark.browser
LAMP = "How is a lamp switched on?"
HOSTILE = (
    "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) [y](https://evil.test) </script> ${alert(2)} {{value}}"
)
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
        body = visit.page.locator("body")
        for tab, words in (
            ("Overview", "No question has been asked yet"),
            ("Conversations", "No question matches"),
            ("Hand-offs", "Nobody is waiting"),
            ("Unanswered", "Nothing was left without a good answer"),
            ("Knowledge", "Nothing is known yet"),
            ("People", "There are no accounts"),
            ("Settings", "Nothing was looked at"),
        ):
            visit.page.get_by_role("tab", name=tab, exact=True).click()
            expect(body).to_contain_text(words)
        assert visit.errors == []


def test_the_overview_counts_what_became_of_questions(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        overview = visit.page.locator("#overview")
        expect(overview.locator(".tile").filter(has_text="Questions")).to_contain_text("3")
        expect(overview.locator(".bar-row").filter(has_text="Handed off")).to_contain_text("2 (67%)")
        expect(overview).to_contain_text("assumed where they said nothing")
        assert overview.locator(".bar.handed_off").evaluate("bar => bar.offsetWidth") > 0
        assert overview.locator(".stack i").first.evaluate("part => part.offsetHeight") > 0
        visit.page.get_by_label("All time").check()
        expect(overview.locator(".tile").filter(has_text="Questions")).to_contain_text("3")
        with visit.page.expect_download() as loading:
            overview.get_by_role("link", name="CSV").click()
        assert LAMP in Path(loading.value.path()).read_text()
        assert visit.errors == []


def conversations(visit: Visit) -> None:
    visit.page.get_by_role("tab", name="Conversations").click()
    expect(visit.page.locator("#told")).to_contain_text("3 questions")


def test_questions_are_listed_with_level_and_outcome(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        conversations(visit)
        row = visit.page.locator("#questions tr").filter(has_text=LAMP)
        for told in ("rag", "answered", "%", "chat"):
            expect(row).to_contain_text(told)
        assert visit.errors == []


def test_a_filter_narrows_the_list(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        conversations(visit)
        visit.page.get_by_label("Question contains").fill("lamp")
        visit.page.get_by_label("Question contains").press("Enter")
        expect(visit.page.locator("#told")).to_contain_text("1 question")
        expect(visit.page.locator("#questions tr").filter(has_text="human")).to_have_count(0)


def test_a_row_opens_its_answer_at_three_depths_by_keyboard(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        conversations(visit)
        visit.page.locator("#questions button").filter(has_text=LAMP).focus()
        visit.page.keyboard.press("Enter")
        story = visit.page.locator("#trace .story")
        expect(story.locator(".why")).to_contain_text("From the documents:")
        expect(story.locator(".rung.accepted")).to_contain_text("10% needed")
        assert story.locator(".meter .bar.rag").evaluate("bar => bar.offsetWidth") > 0
        expect(story).to_contain_text("The conversation, 3 questions")
        everything = story.locator("details.whole")
        assert not everything.locator(".trace").is_visible()
        everything.locator("> summary").press("Enter")
        for told in (LAMP, "Attempts", "Signals", "Passages", "Versions", "Threshold", "scripted", "lamps.md"):
            expect(everything.locator(".trace")).to_contain_text(told)
        assert everything.locator(".trace").is_visible()


def test_a_hostile_question_is_only_words(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        conversations(visit)
        row = visit.page.locator("#questions button").filter(has_text="onerror")
        expect(row).to_have_text(HOSTILE)
        row.click()
        expect(visit.page.locator("#trace h2")).to_have_text(HOSTILE)
        expect(visit.page.locator("#trace details.whole h3")).to_have_text(HOSTILE)
        assert visit.page.locator("#trace img, #questions img, #trace a").count() == 0
        assert visit.dialogs == [] and visit.errors == []
        assert visit.hosts == {asked.url.split("/")[2]}


def test_who_waits_for_a_person_is_listed(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        visit.page.get_by_role("tab", name="Hand-offs").click()
        expect(visit.page.locator("#handoffs")).to_contain_text("asked for a person")


def test_the_header_counts_what_waits(asked: Served, browser: Browser) -> None:
    with visiting(browser, asked.url, "/console/") as visit:
        conversations(visit)
        expect(visit.page.locator(".chips")).to_contain_text("1 hand-off")
        visit.page.locator("#questions button").filter(has_text=LAMP).click()
        visit.page.get_by_role("button", name="Correct this answer").click()
        visit.page.fill("#correct-text textarea", "By its lever.")
        visit.page.click("#correct-keep")
        expect(visit.page.locator("#correct-kept")).to_contain_text("waits for approval")
        visit.page.reload()
        expect(visit.page.locator(".chips")).to_contain_text("1 correction waits for review")
        expect(visit.page.get_by_role("tab", name="Adaptation (1)")).to_be_visible()


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_is_wider_than_its_window(asked: Served, browser: Browser, width: int, scheme: str) -> None:
    window = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with visiting(browser, asked.url, "/console/", **window) as visit:
        for tab in ("Conversations", "Unanswered", "Knowledge", "People", "Settings", "Overview"):
            open_tab(visit.page, tab)
            visit.page.wait_for_timeout(300)
            over = visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, tab
