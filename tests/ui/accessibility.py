"""What axe-core finds on a page (shadow roots and frames of its own origin included). The rules come with a package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HEAVY = ("serious", "critical")
RUN = """async (standards) => {
  const told = await axe.run(document, { runOnly: standards, resultTypes: ["violations"], reporter: "v2" });
  const where = (nodes) => nodes.map((node) => [node.target, node.failureSummary]);
  return told.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: where(nodes) }));
}"""


def findings(page: Page) -> list[dict[str, Any]]:
    """Everything that axe has against a page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found: list[dict[str, Any]] = page.evaluate(RUN, STANDARDS)
    return found


def assert_accessible(page: Page) -> None:
    """Fails on a serious or critical finding."""
    heavy = [found for found in findings(page) if found["impact"] in HEAVY]
    assert not heavy, "\n".join(f"{one['impact']} {one['id']}: {one['help']} {one['nodes']}" for one in heavy)


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
