"""The chat page in a real Chromium: people speak in it, documents are attached, data is taken away or erased."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from assistant.build import Rungs
from tests.ui import browsing
from tests.ui.chat.test_browser import LAMP, TRUSTED, site
from ui.access.people import People

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
WAIT = 30_000
HOSTILE = '<img src="https://evil.test/x.png" onerror="alert(1)"> ![](https://evil.test/y.png) **not** [a](//evil.test)'
LEASE = "# Lease\n\nThe rent of the boathouse is eleven hundred florins.\n\n" + HOSTILE + "\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


def pictured(page: Page, name: str) -> None:
    """A screenshot for whoever looks at the pages by eye."""
    folder = os.environ.get("RUNGS_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def said(page: Page, text: str) -> None:
    page.fill("#question textarea", text)
    page.press("#question textarea", "Enter")


def waiting(rungs: Rungs) -> str:
    (handoff,) = rungs.desk.inbox("waiting")
    return handoff.id


def test_a_person_takes_over_live_and_their_words_are_words(browser: Browser, tmp_path: Path) -> None:
    with site(tmp_path, TRUSTED) as (rungs, url), browsing.visiting(browser, url) as visit:
        page = visit.page
        visit.ask(LAMP)
        page.click("#contact")
        page.click("#contact-box button.primary")
        expect(page.locator("#banner")).to_contain_text("Waiting for a person", timeout=WAIT)
        expect(page.locator("#status")).to_contain_text("the assistant goes on answering")
        pictured(page, "waiting")
        handoff = rungs.desk.take(waiting(rungs), "ann")
        expect(page.locator("#banner")).to_contain_text("You are talking to ann from support", timeout=WAIT)
        rungs.desk.say(handoff.conversation_id, "agent", "ann", HOSTILE)
        expect(page.locator(".person .who").last).to_have_text("ann from support", timeout=WAIT)
        expect(page.locator(".person p").last).to_contain_text("onerror")
        asked = len(rungs.traces.turns(handoff.conversation_id))
        said(page, "The lever is broken")
        expect(page.locator("#chat .user-row").last).to_contain_text("The lever is broken", timeout=WAIT)
        assert [one.text for one in rungs.desk.messages(handoff.conversation_id)][-1] == "The lever is broken"
        assert len(rungs.traces.turns(handoff.conversation_id)) == asked  # the assistant was not asked
        pictured(page, "person")
        page.emulate_media(color_scheme="dark")
        pictured(page, "person-dark")
        page.reload()
        expect(page.locator(".person .who").last).to_have_text("ann from support", timeout=WAIT)
        expect(page.locator("#banner")).to_contain_text("You are talking to ann", timeout=WAIT)
        page.locator("#chat .bot-row:has(.person) button[aria-label='Like']").last.click()
        expect(page.locator("#status")).to_contain_text("support team", timeout=WAIT)
        assert any(one.rating == 1 for one in rungs.desk.messages(handoff.conversation_id))
        rungs.desk.resolve(handoff.id, "ann")
        expect(page.locator(".system-line").last).to_contain_text("resolved", timeout=WAIT)
        expect(page.locator("#banner .banner")).to_have_count(0, timeout=WAIT)
        assert not visit.dialogs and not visit.errors and visit.hosts <= {url.split("/")[2], ""}


def test_a_document_is_attached_found_and_removed_and_data_is_taken_and_erased(
    browser: Browser, tmp_path: Path
) -> None:
    lease = tmp_path / "lease <b>1.md"
    lease.write_text(LEASE)
    with (
        site(tmp_path, TRUSTED) as (rungs, url),
        browsing.visiting(browser, url, viewport={"width": 360, "height": 740}) as visit,
    ):
        page = visit.page
        page.set_input_files("#attach input[type=file], input[type=file]", str(lease))
        expect(page.locator("#attached")).to_contain_text("lease", timeout=WAIT)
        visit.ask("What is the rent of the boathouse?")
        expect(visit.last()).to_contain_text("Your document", timeout=WAIT)
        pictured(page, "attached-phone")
        page.click("#rungs-sidebar .toggle-button, .sidebar .toggle-button")
        page.click("#your-data button.label-wrap")
        pictured(page, "data-phone")
        with page.expect_download() as download:
            page.click("#export-json")
        document = json.loads(Path(download.value.path()).read_text())
        assert [entry["speaker"] for entry in document["entries"]] == ["visitor", "assistant"]
        page.click("#erase-all")
        expect(page.locator("#data-told")).to_contain_text("Tick the box", timeout=WAIT)
        page.check("#sure input")
        page.click("#erase-all")
        expect(page.locator("#data-told")).to_contain_text("Deleted: 1 conversations", timeout=WAIT)
        expect(page.locator("#chat .bot-row")).to_have_count(0)
        kept = b"".join(path.read_bytes() for path in rungs.settings.home.glob("rungs.db*"))
        assert b"boathouse" not in kept
        assert not visit.dialogs and not visit.errors and visit.hosts <= {url.split("/")[2], ""}


def test_an_account_has_its_conversations_everywhere_and_takes_earlier_ones_only_when_asked(
    browser: Browser, tmp_path: Path
) -> None:
    with site(tmp_path, TRUSTED) as (rungs, url), browsing.visiting(browser, url) as visit:
        page = visit.page
        visit.ask(LAMP)
        people = People(rungs.engine)
        people.add("eva", "owner", "a long password")
        people.add("ann", "user", "another long password")
        page.goto(url + "/login?next=/")
        page.fill("[name=name]", "ann")
        page.fill("[name=password]", "another long password")
        page.click("button")
        page.wait_for_selector("#question textarea")
        expect(page.locator("#account")).to_contain_text("ann", timeout=WAIT)
        assert rungs.traces.conversations("account ann") == ()
        page.click("#rungs-sidebar .toggle-button, .sidebar .toggle-button")
        pictured(page, "account")
        page.click("#take-along")
        expect(page.locator("#conversation-list")).to_contain_text("lamp", timeout=WAIT)
        assert len(rungs.traces.conversations("account ann")) == 1
