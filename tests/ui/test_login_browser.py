"""Logging in, in a real browser: the first owner by the link, then nobody without a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.ui.browsing import MILLISECONDS, chromium, served

pytestmark = pytest.mark.browser
SCRIPTED = {"RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}
GOOD = "correct horse battery"
expect.set_options(timeout=MILLISECONDS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_the_first_owner_is_made_by_the_link_and_everybody_else_logs_in(browser: Browser, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with served(home, SCRIPTED) as site:
        link = re.search(r"http\S+/setup\?token=\S+", (tmp_path / "home.log").read_text())
        assert link
        owner = browser.new_context().new_page()
        owner.goto(link.group())
        owner.get_by_label("Name").fill("ann")
        owner.get_by_label("Password").fill(GOOD)
        owner.get_by_role("button", name="Make the owner").click()
        expect(owner.locator("body")).to_contain_text("Rungs console")

        other = browser.new_context().new_page()
        other.goto(f"{site.url}/console/")
        expect(other).to_have_url(re.compile(r"/login\?next="))
        other.get_by_label("Name").fill("ann")
        other.get_by_label("Password").fill("a wrong password")
        other.keyboard.press("Enter")
        expect(other.get_by_role("alert")).to_contain_text("do not belong together")
        other.get_by_label("Password").fill(GOOD)
        other.keyboard.press("Enter")
        expect(other.locator("body")).to_contain_text("Rungs console")
        visitor = browser.new_context().new_page()
        visitor.goto(site.url)
        expect(visitor.locator("#question textarea")).to_be_visible()
