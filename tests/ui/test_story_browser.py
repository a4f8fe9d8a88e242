"""The whole story in real browsers, on two origins and each kind of database: visitor, agent and owner on one answer.

A visitor on another host's page is not content and asks for a person; an agent edits the draft and sends it; the
visitor sees it at once and rates it; the owner finds the trace, approves the edit as an example, and sees the figures.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui import browsing
from tests.ui.chat.test_browser import LAMP, TRUSTED, site
from tests.ui.console.consoles import open_tab
from tests.ui.widget.hosting import Caller, calling, hosting
from tests.ui.widget.test_browser import call_a_person
from ui.access.people import People
from ui.widget.sites import Sites

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),  # gradio's queue counts with pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
WAIT = 30_000
AT_ONCE = 2.0
"""Seconds until a visitor sees what an agent sent."""
GOOD = "correct horse battery"
ADDED = " Call me if it stays dark."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


def pictured(page: Page, name: str) -> None:
    """A screenshot for whoever looks at the pages by eye."""
    folder = os.environ.get("RUNGS_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"story-{name}.png"))


@contextmanager
def logged_in(browser: Browser, url: str, path: str, name: str) -> Iterator[Page]:
    """Somebody with an account, by the login page, in a browser of their own that asks nobody else for anything."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT)
    requested: list[str] = []
    wrong: list[str] = []
    context.on("request", lambda request: requested.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.goto(url + path)
    expect(page).to_have_url(re.compile(r"/login\?next="))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(GOOD)
    page.keyboard.press("Enter")
    try:
        yield page
        strangers = [asked for asked in requested if not asked.startswith((url, "data:", "blob:"))]
        assert (strangers, wrong) == ([], [])
    finally:
        context.close()


def not_content(caller: Caller) -> None:
    """Asks, is answered with sources, and says that it did not help."""
    caller.open()
    answer = caller.ask(LAMP)
    expect(answer.locator(".level")).to_have_text("From the documents")
    answer.locator("summary").click()
    expect(answer.locator("blockquote").first).to_contain_text("red lever")
    pictured(caller.page, "1-answer")
    answer.get_by_role("button", name="Not helpful").click()
    answer.locator(".why").wait_for()


def sent(agent: Page, caller: Caller) -> float:
    """Takes the conversation over, edits the draft, sends it; the seconds until the visitor sees it."""
    agent.locator("#copilot-take").click()
    expect(agent.locator("#copilot-head")).to_contain_text("you have it", timeout=WAIT)
    expect(caller.page.locator(".status")).to_contain_text("talking to a person", timeout=WAIT)
    agent.locator("#copilot-head").click()
    agent.keyboard.press("u")
    reply = agent.locator("#copilot-reply textarea")
    expect(reply).to_have_value(re.compile("red lever"), timeout=WAIT)
    reply.focus()
    reply.press("End")
    agent.keyboard.type(ADDED)
    pictured(agent, "2-edited")
    begun = time.monotonic()
    agent.keyboard.press("Control+Enter")
    expect(caller.page.locator(".entry.agent").last).to_contain_text("stays dark", timeout=WAIT)
    return time.monotonic() - begun


def approved(owner: Page) -> None:
    """Finds the trace, approves the agent's edit as an example, and reads the figures."""
    overview = owner.locator("#overview")
    expect(overview.locator(".tile").filter(has_text="Questions")).to_contain_text("1", timeout=WAIT)
    expect(overview.locator(".bar-row").filter(has_text="documents").first).to_contain_text("1 (", timeout=WAIT)
    pictured(owner, "4-overview")
    open_tab(owner, "Conversations")
    owner.locator("#questions button").filter(has_text=LAMP).first.click()
    expect(owner.locator("#trace .rung.accepted")).to_be_visible(timeout=WAIT)
    pictured(owner, "5-trace")
    open_tab(owner, "Adaptation")
    owner.locator("#review-refresh").click()
    owner.locator("#review [role=gridcell]").filter(has_text="stays dark").last.click()
    expect(owner.locator("#review-shown ins").first).to_contain_text("Call", timeout=WAIT)
    owner.locator("#review-approve").click()
    expect(owner.locator("#review-shown")).to_contain_text("approved by eva", timeout=WAIT)
    pictured(owner, "6-approved")


def test_an_answer_goes_from_a_visitor_by_an_agent_to_an_approved_example(
    browser: Browser, tmp_path: Path, database_url: str
) -> None:
    with site(tmp_path, TRUSTED, database=database_url) as (rungs, url), hosting() as host:
        assert rungs.engine.dialect.name == database_url.split(":")[0].split("+")[0]
        people = People(rungs.engine)
        people.add("eva", "owner", GOOD)
        people.add("ann", "agent", GOOD)
        host.server, host.key = url, Sites(rungs.engine).add("shop", [host.url], "eva", {"title": "Lamp help"}).key
        with calling(browser, host) as caller:
            with logged_in(browser, url, "/copilot/", "ann") as agent:
                expect(agent.locator("#copilot-rows")).to_contain_text("Nobody is waiting", timeout=WAIT)
                not_content(caller)
                call_a_person(caller, "it stays dark")
                row = agent.locator(".desk-row")
                expect(row).to_contain_text(LAMP, timeout=WAIT)
                row.click()
                expect(agent.locator(".desk-thread")).to_contain_text(LAMP, timeout=WAIT)
                assert sent(agent, caller) < AT_ONCE
            caller.page.locator(".entry.agent").last.get_by_role("button", name="Helpful", exact=True).click()
            pictured(caller.page, "3-person")
            conversation = rungs.desk.inbox("in_progress")[0].conversation_id
            rated = rungs.desk.messages
            caller.page.wait_for_timeout(500)
            assert [one.rating for one in rated(conversation) if one.role == "agent"] == [1]
        with logged_in(browser, url, "/console/", "eva") as owner:
            approved(owner)
