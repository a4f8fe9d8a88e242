"""How big the widget is and how soon it can be used: `python -m bench.widget`.

Another host's page in a real Chromium, each visit a browser that has never seen it, against a server of this machine on
the scripted model: from the navigation until the launcher can be clicked, and from the click until the panel can be
typed into. With `--slow` the line is throttled to what Lighthouse calls slow 4G (1.6 Mbit/s, 150 ms).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.ui.browsing import chromium
from tests.ui.chat.test_browser import TRUSTED, site
from tests.ui.widget.hosting import Host, hosting
from ui.widget.script import widget_script
from ui.widget.sites import Sites

VISITS = 20
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
USABLE = """() => new Promise((done) => {
  const look = () => {
    const launcher = document.querySelector("rungs-chat")?.shadowRoot.querySelector(".launcher");
    launcher?.checkVisibility() ? done(performance.now()) : requestAnimationFrame(look);
  };
  look();
})"""
TYPED = """() => new Promise((done) => {
  const { shadowRoot } = document.querySelector("rungs-chat");
  const began = performance.now();
  shadowRoot.querySelector(".launcher").click();
  const ready = () => shadowRoot.activeElement?.tagName === "TEXTAREA";
  const look = () => (ready() ? done(performance.now() - began) : requestAnimationFrame(look));
  requestAnimationFrame(look);
})"""


def main() -> None:
    """Print the figures."""
    made = widget_script()
    print(f"{len(made.body):,} bytes, {len(made.gzipped):,} as served (gzip)")
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), TRUSTED) as (rungs, url), hosting() as host:
        host.server = url
        host.key = Sites(rungs.engine).add("bench", [host.url], "bench").key
        with chromium() as browser:
            visit(browser, host, slow=False)  # the server's first request imports what it needs
            seen = [visit(browser, host, slow="--slow" in sys.argv) for _ in range(VISITS)]
    for name, times in zip(("launcher usable", "panel typed into"), zip(*seen, strict=True), strict=True):
        ordered = sorted(times)
        print(f"{name}: median {statistics.median(times):.0f} ms, worst of {VISITS} {ordered[-1]:.0f} ms")


def visit(browser: Browser, host: Host, slow: bool) -> tuple[float, float]:
    """Milliseconds until the launcher, and from its click until the text field has the focus."""
    context = browser.new_context()
    try:
        page: Page = context.new_page()
        if slow:
            context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
        page.goto(host.url, wait_until="commit")
        launcher = float(page.evaluate(USABLE))
        time.sleep(0.2)
        return launcher, float(page.evaluate(TYPED))
    finally:
        context.close()


if __name__ == "__main__":
    main()
