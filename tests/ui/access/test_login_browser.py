"""Logging in, in a real browser: the first owner by the link, then nobody without a password."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from knowledge.database import open_engine
from tests.ui.access.identity_provider import CLIENT, SECRET, Provider
from tests.ui.browsing import MILLISECONDS, chromium, served
from tests.ui.serving import CommandLine
from tests.ui.test_live import listening
from ui.access.people import People

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


def test_a_bar_on_every_page_says_who_one_is_and_leads_on_and_out(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "home", SCRIPTED) as site:
        engine = open_engine(f"sqlite:///{site.home / 'rungs.db'}")
        People(engine).add("ann", "owner", GOOD)
        People(engine).add("ben", "agent", GOOD)
        engine.dispose()
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        bar = page.locator(".account")

        def enter(name: str, where: str) -> None:
            page.goto(f"{site.url}/login?next={where}")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(GOOD)
            page.keyboard.press("Enter")
            expect(bar).to_contain_text(f"Logged in as {name}")

        enter("ann", "/console/")
        pictured(page, "console")
        for name, there in (("Copilot", "copilot"), ("Chat", ""), ("Console", "console")):
            bar.get_by_role("link", name=name).click()
            page.wait_for_url(f"{site.url}/{there}{'/' if there else ''}")
            expect(bar).to_contain_text("Logged in as ann (owner)")
            pictured(page, there or "chat")
        bar.get_by_role("button", name="Log out", exact=True).click()
        page.wait_for_url(lambda url: "/console" not in url or "/login" in url)
        page.goto(f"{site.url}/console/")
        expect(page).to_have_url(re.compile(r"/login\?next="))
        page.goto(site.url)
        expect(bar.get_by_role("link", name="Log in")).to_be_visible()
        pictured(page, "chat-out")
        enter("ben", "/copilot/")
        expect(bar.get_by_role("link", name="Chat")).to_be_visible()
        expect(bar.get_by_role("link", name="Console")).to_have_count(0)
        context.close()


def pictured(page: Page, name: str) -> None:
    """Wide and narrow, light and dark, for whoever looks at the pages by eye."""
    folder = os.environ.get("RUNGS_PICTURES")
    if folder:
        for width, scheme in ((1280, "light"), (1280, "dark"), (375, "light")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.wait_for_timeout(600)
            page.screenshot(path=str(Path(folder) / f"{name}-{width}-{scheme}.png"))
        page.set_viewport_size({"width": 1280, "height": 800})


def test_a_person_logs_in_by_the_identity_provider_sees_who_they_are_and_logs_out(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SCRIPTED.items():
        monkeypatch.setenv(name, value)
    CommandLine(tmp_path / "home").json("accounts", "create-owner", "ann", stdin=f"{GOOD}\n")
    provider = Provider()
    provider.person = {"sub": "9", "preferred_username": "<b>Mia</b>", "groups": ["support"]}
    with listening(provider.app) as provider.url:
        settings = {
            "RUNGS_OIDC_ISSUER": provider.url,
            "RUNGS_OIDC_CLIENT": CLIENT,
            "RUNGS_OIDC_SECRET": SECRET,
            "RUNGS_OIDC_NAME": "Example Inc.",
            "RUNGS_OIDC_ROLES": '{"support": "agent"}',
        }
        with served(tmp_path / "home", SCRIPTED | settings) as site:
            page = browser.new_context().new_page()
            page.goto(f"{site.url}/copilot/")
            page.get_by_role("link", name="Log in with Example Inc.").click()
            expect(page).to_have_url(f"{site.url}/copilot/")
            bar = page.get_by_role("navigation", name="Account")
            expect(bar).to_contain_text("Logged in as b-mia-b (agent)")
            bar.get_by_role("button", name="Log out everywhere").click()
            expect(page).to_have_url(f"{site.url}/login")
            page.goto(f"{site.url}/copilot/")
            expect(page).to_have_url(re.compile(r"/login\?next="))
