"""The loop in a real browser on the embedded model: corrected, approved, trained, gated, promoted, rolled back.

A small set: it shows that every step leads to the next, not that the adapter is good, and the gate rightly says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.assistant.test_adapting import THINGS
from tests.ui.browsing import MILLISECONDS, Served, chromium, ingest, served, visiting
from tests.ui.console.consoles import open_tab

pytestmark = [pytest.mark.browser, pytest.mark.engine]
QUICK = {"RUNGS_DEMO": "false", "RUNGS_ANSWER_TOKENS": "24", "RUNGS_GATE_QUESTIONS": "10"}
LAMP = "Which button starts the lamp?"
RIGHT = "The green one, in the kitchen."
TRAINED = 600_000
"""Milliseconds that a training with its gate may take on a busy machine."""
expect.set_options(timeout=MILLISECONDS)


def level(threshold: float) -> dict[str, object]:
    """A confidence that is the same for everything."""
    facts = {"signals": [], "mean": [], "scale": [], "weights": [], "bias": 0.0, "belongs_to": {}, "facts": {}}
    return {**facts, "threshold": threshold}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("loop")
    home, pages = folder / "home", folder / "pages"
    (home / "models").mkdir(parents=True)
    pages.mkdir()
    for path in weights.parent.glob(f"{weights.name}*"):
        (home / "models" / path.name).symlink_to(path)
    for thing, (colour, place) in THINGS.items():
        text = f"# The {thing}\n\nThe {thing} stands in the {place}. Its {colour} button starts the {thing}.\n"
        (pages / f"{thing}.md").write_text(text)
    fitted = {"levels": {"rag": level(1.0), "lora": level(0.1)}, "needs_no_document": None, "max_wrong": 0.5}
    (home / "calibration.json").write_text(json.dumps({**fitted, "rag_answers_by": "quoting", "made_from": "a test"}))
    ingest(home, pages, QUICK)
    with served(home, QUICK) as site:
        yield site


def rows(folder: Path) -> Path:
    """All but the lamp, whose row comes out of the correction."""
    others = [(thing, *told) for thing, told in THINGS.items() if thing != "lamp"]
    lines = [
        json.dumps({"question": f"Which button starts the {t}, please?", "answer": f"The {c} one, in the {p}."})
        for t, c, p in others
    ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def choose(page: Page, table: str, text: str) -> None:
    page.locator(f"#{table} [role=gridcell]").filter(has_text=text).last.click()


def answered_by(site: Served, browser: Browser) -> str:
    """Ask about the lamp as a visitor; the adapter that answered, as the console tells it."""
    with visiting(browser, site.url) as visit:
        visit.ask(LAMP)
        expect(visit.last()).to_contain_text("From the specialist")
    with visiting(browser, site.url, "/console/") as visit:
        visit.page.get_by_role("tab", name="Conversations").click()
        visit.page.locator("#questions button").filter(has_text=LAMP).first.click()
        expect(visit.page.locator("#trace")).to_contain_text(LAMP)
        return re.findall(r"bundled@[0-9a-f]{12}", visit.page.locator("#trace").text_content() or "")[0]


def test_a_corrected_answer_ends_up_in_an_adapter_that_answers_and_is_rolled_back(
    site: Served, browser: Browser, tmp_path: Path
) -> None:
    shipped = answered_by(site, browser)
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "Conversations")
        page.locator("#questions button").filter(has_text=LAMP).first.click()
        page.get_by_role("button", name="Correct this answer").click()
        page.locator("#correct-text textarea").fill(RIGHT)
        page.locator("#correct-consent input").check()
        page.locator("#correct-keep").click()
        expect(page.locator("#correct-kept")).to_contain_text("waits for approval")

        page.get_by_role("tab", name="Adaptation").click()
        page.locator("#review-refresh").click()
        choose(page, "review", RIGHT)
        expect(page.locator("#review-shown ins").first).to_be_visible()
        page.locator("#review-approve").click()
        expect(page.locator("#review-shown")).to_contain_text("approved by owner")

        page.get_by_role("tab", name="Train").click()
        page.locator("#train-name textarea, #train-name input").fill("bundled")
        page.locator("#train-data input[type=file]").set_input_files(rows(tmp_path))
        expect(page.locator("#train-data")).to_contain_text("rows.jsonl")
        page.locator("#train-look").click()
        expect(page.locator("#train-preview")).to_contain_text("will not change anything")
        page.locator("#train-start").click()
        expect(page.locator("#train-progress")).to_contain_text("bundled")
        page.reload()
        page.get_by_role("tab", name="Adaptation").click()
        page.get_by_role("tab", name="Train").click()
        expect(page.locator("#train-progress")).to_contain_text(re.compile(r"Stage\s*(done|failed)"), timeout=TRAINED)
        expect(page.locator("#train-progress")).to_contain_text("done")

        page.get_by_role("tab", name="Adapters").click()
        page.locator("#adapters-refresh").click()
        choose(page, "adapters", "candidate")
        expect(page.locator("#adapter-shown")).to_contain_text("too little evidence")
        expect(page.locator("#adapter-shown .sides").first).to_be_attached()
        page.locator("#adapter-promote").click()
        expect(page.locator("#adapter-shown")).to_contain_text("give a reason")
        page.locator("#adapter-reason textarea, #adapter-reason input").fill("read its answers")
        page.locator("#adapter-promote").click()
        expect(page.locator("#adapter-shown")).to_contain_text("is live")
        promoted = answered_by(site, browser)
        assert promoted != shipped
        expect(page.locator("#adapter-shown")).to_contain_text(promoted.split("@")[1])

        page.get_by_role("button", name="Compare two revisions").click()
        page.locator("#compare-question textarea, #compare-question input").fill(LAMP)
        page.locator("#compare").click()
        expect(page.locator("#compared")).to_contain_text(promoted)

        page.locator("#adapter-rollback").click()
        expect(page.locator("#adapter-shown")).to_contain_text("is live again")
        assert visit.errors == []
        assert visit.hosts == {site.url.split("/")[2]}
    assert answered_by(site, browser) == shipped
