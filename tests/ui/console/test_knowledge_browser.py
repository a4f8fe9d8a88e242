"""The console's tab of knowledge in a browser: dropped, watched, browsed, ranked, removed; hostile words are words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browsing import MILLISECONDS, Served, chromium, scripted_site, visiting
from tests.ui.console.consoles import HOSTILE, open_tab

pytestmark = pytest.mark.browser
expect.set_options(timeout=MILLISECONDS)
HOSTILE_NAME = "<img src=x onerror=alert(1)>.md"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("knowledge")) as site:
        yield site


def drop(page: Page, source: str, *files: Path) -> None:
    """Drop files on the page and wait until they are uploaded."""
    open_tab(page, "Knowledge")
    page.get_by_role("tab", name="Add", exact=True).click()
    page.fill("#add-source :is(input, textarea)", source)
    page.set_input_files("#add-files input[type=file]", list(files))
    expect(page.locator("#add-files .file-preview tr, #add-files [class*=file]")).not_to_have_count(0)
    page.click("#add-start")


def choose(page: Page, box: str, words: str) -> None:
    page.locator(f"{box} input").click()
    page.locator("[role=option]").filter(has_text=words).first.click()


def test_dropped_files_are_read_and_failures_say_why(site: Served, browser: Browser, tmp_path: Path) -> None:
    good, bad = tmp_path / "cups.txt", tmp_path / "broken.pdf"
    good.write_text(f"A cup holds two hundred millilitres. {HOSTILE}\n")
    bad.write_bytes(b"no pdf at all")
    with visiting(browser, site.url, "/console/") as visit:
        drop(visit.page, "cups", good, bad)
        jobs = visit.page.locator("#knowledge-jobs")
        expect(jobs).to_contain_text("1 added")
        expect(jobs.locator("tr").filter(has_text="broken.pdf")).to_contain_text("PDF")
        assert (site.home / "uploads" / "cups" / "cups.txt").read_text() == good.read_text()
        visit.page.reload()
        open_tab(visit.page, "Knowledge")
        expect(jobs).to_contain_text("1 added")
        expect(visit.page.locator("#knowledge-sources")).to_contain_text("cups (uploaded)")
        choose(visit.page, "#knowledge-source", "cups")
        expect(visit.page.locator("#knowledge-shown")).to_contain_text("cups.txt")
        choose(visit.page, "#knowledge-document", "cups.txt")
        shown = visit.page.locator("#knowledge-shown .passage")
        expect(shown).to_contain_text("<img src=x onerror=alert(1)>")
        assert visit.page.locator("#knowledge-shown :is(img, a)").count() == 0
        assert visit.dialogs == [] and visit.hosts == {site.url.split("/")[2]}


def test_a_hostile_file_name_is_only_words(site: Served, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "pages" / HOSTILE_NAME
    file.parent.mkdir()
    file.write_text("# Title\n\nSomething to say about saucers.\n")
    with visiting(browser, site.url, "/console/") as visit:
        drop(visit.page, "saucers", file)
        expect(visit.page.locator("#knowledge-jobs")).to_contain_text("1 added")
        visit.page.get_by_role("tab", name="Sources").click()
        choose(visit.page, "#knowledge-source", "saucers")
        expect(visit.page.locator("#knowledge-shown td").first).to_contain_text("onerror")
        assert visit.page.locator("#knowledge-shown img").count() == 0
        assert visit.dialogs == [] and visit.hosts == {site.url.split("/")[2]}


@pytest.mark.parametrize("name", ["../up", "A B", ""])
def test_a_source_is_no_path(site: Served, browser: Browser, tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.md"
    file.write_text("# A\n\nSome words that say something.\n")
    with visiting(browser, site.url, "/console/") as visit:
        drop(visit.page, name, file)
        expect(visit.page.locator("#add-told")).to_contain_text("a source is named by")


def test_why_a_passage_ranked_is_told(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Knowledge")
        visit.page.get_by_role("tab", name="Try a query").click()
        visit.page.fill("#try-query :is(input, textarea)", "How is a lamp switched on?")
        visit.page.keyboard.press("Enter")
        first = visit.page.locator("#try-shown li").first
        for told in ("lamps.md", "rank 1, similarity", "rank 1, BM25", "1/61 + 1/61", "lamp, lamps, switched"):
            expect(first).to_contain_text(told)
        expect(first.locator("mark").first).to_have_text("lamp")
        expect(first.locator(".read")).to_contain_text("red lever")
        visit.page.fill("#try-query :is(input, textarea)", HOSTILE)
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("#try-shown li").first).to_contain_text("Matched words")
        assert visit.page.locator("#try-shown :is(img, a)").count() == 0
        assert visit.dialogs == [] and visit.hosts == {site.url.split("/")[2]}


def test_an_answer_that_is_written_is_found_at_once(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Knowledge")
        visit.page.get_by_role("tab", name="Add", exact=True).click()
        visit.page.click("#pair-add")
        expect(visit.page.locator("#pair-told")).to_contain_text("the question is empty")
        visit.page.fill("#pair-question :is(input, textarea)", "Where is the office in Namur?")
        visit.page.fill("#pair-answer textarea", "The office in Namur is beside the citadel.")
        visit.page.click("#pair-add")
        expect(visit.page.locator("#pair-told")).to_contain_text("Kept as where-is-the-office")
    with visiting(browser, site.url) as visit:
        visit.ask("Where is the office in Namur?")
        expect(visit.last()).to_contain_text("beside the citadel")


def test_a_source_is_removed_only_when_it_is_meant(site: Served, browser: Browser, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\nDocument number {name} says its own thing.\n")
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        drop(page, "passing", tmp_path / "one.md", tmp_path / "two.md")
        expect(page.locator("#knowledge-jobs")).to_contain_text("2 added")
        page.get_by_role("tab", name="Sources").click()
        page.click("#knowledge-remove-source")
        expect(page.locator("#knowledge-said")).to_contain_text("Choose a source first")
        choose(page, "#knowledge-source", "passing")
        choose(page, "#knowledge-document", "one.md")
        page.click("#knowledge-remove-document")
        expect(page.locator("#knowledge-confirm")).to_contain_text("Remove one.md of passing (uploaded)?")
        page.click("#knowledge-keep")
        expect(page.locator("#knowledge-confirm")).to_be_hidden()
        assert (site.home / "uploads" / "passing" / "one.md").exists()
        page.click("#knowledge-remove-document")
        page.click("#knowledge-remove")
        expect(page.locator("#knowledge-said")).to_contain_text("Removed 1 document.")
        assert sorted(file.name for file in (site.home / "uploads" / "passing").iterdir()) == ["two.md"]
        page.wait_for_timeout(1500)  # what is left is listed anew, and nothing is chosen then
        choose(page, "#knowledge-source", "passing")
        page.click("#knowledge-remove-source")
        page.click("#knowledge-remove")
        expect(page.locator("#knowledge-sources")).not_to_contain_text("passing")
        assert not (site.home / "uploads" / "passing").exists()


def test_the_index_is_rebuilt_from_the_page(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Knowledge")
        visit.page.click("#knowledge-reindex")
        expect(visit.page.locator("#knowledge-jobs")).to_contain_text("Rebuilding the index: done")


def test_reading_goes_on_when_the_page_is_closed_and_can_be_stopped(
    site: Served, browser: Browser, tmp_path: Path
) -> None:
    many = [tmp_path / f"page{number}.md" for number in range(60)]
    for number, file in enumerate(many):
        file.write_text("# Long\n\n" + "\n\n".join(f"Line {line} of page {number} says more." for line in range(1500)))
    with visiting(browser, site.url, "/console/") as visit:
        drop(visit.page, "long", *many)
        expect(visit.page.locator("#knowledge-jobs [role=progressbar]")).to_be_visible()
    with visiting(browser, site.url, "/console/") as visit:
        open_tab(visit.page, "Knowledge")
        expect(visit.page.locator("#knowledge-jobs [role=progressbar]")).to_be_visible()
        visit.page.click("#knowledge-stop")
        expect(visit.page.locator("#knowledge-jobs")).to_contain_text("stopped, what was done so far is kept")
        expect(visit.page.locator("#knowledge-stop")).to_be_hidden()
