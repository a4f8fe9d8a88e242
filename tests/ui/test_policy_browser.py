"""The pages run their own scripts and nobody else's: real Chromium on the real policy."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.ui import browsing
from tests.ui.processes import Served, process

pytestmark = pytest.mark.browser
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""
WAIT = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with process(tmp_path_factory.mktemp("policy")) as running:
        yield running


@pytest.mark.parametrize(("path", "text"), [("/", "What would you like to know?"), ("/console/", "Overview")])
def test_a_page_runs_its_own_scripts_and_none_that_is_put_into_it(
    browser: Browser, served: Served, path: str, text: str
) -> None:
    told = httpx.get(served.url + path, trust_env=False).headers["content-security-policy"]
    assert "'unsafe-inline'" not in told.partition("script-src")[2].partition(";")[0]
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(served.url + path)
    expect(page.get_by_text(text).first).to_be_visible(timeout=WAIT)
    for tab in page.get_by_role("tab").all():  # Gradio loads what is behind it now
        if tab.is_visible():
            tab.click()
            page.wait_for_timeout(500)
    page.wait_for_timeout(2000)
    assert page.evaluate("violations") == []
    page.evaluate("""
        const hole = document.createElement("div");
        document.body.append(hole);
        hole.innerHTML = '<img src="/nothing" onerror="window.broken = true">';
        const script = document.createElement("script");
        script.textContent = "window.broken = true";
        document.body.append(script);
    """)
    page.wait_for_function("violations.length >= 2")
    assert page.evaluate("window.broken") is None
    context.close()
