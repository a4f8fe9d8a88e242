"""People, keys, settings and health in a browser: secrets are shown once, the last owner stays."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.browsing import MILLISECONDS, SCRIPTED, Served, chromium, served, visiting
from tests.ui.console.consoles import HOSTILE, open_tab

pytestmark = pytest.mark.browser
expect.set_options(timeout=MILLISECONDS)
SECRET = "a-secret-model-key"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("people") / "home"
    with served(home, {**SCRIPTED, "RUNGS_MODEL_KEY": SECRET, "RUNGS_PASSAGES": "7"}) as site:
        yield site


def choose(page: Page, box: str, words: str) -> None:
    page.locator(f"{box} input").click()
    page.locator("[role=option]").filter(has_text=words).first.click()


def make(page: Page, name: str, role: str) -> str:
    page.fill("#account-name :is(input, textarea)", name)
    choose(page, "#account-role", role)
    page.click("#account-add")
    expect(page.locator("#accounts-said")).to_contain_text(f"The password of {name}")
    return page.locator("#accounts-said code").inner_text()


def test_the_first_owner_is_made_here_and_the_last_one_stays(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "People")
        expect(page.locator("#accounts")).to_contain_text("There are no accounts")
        password = make(page, "ann", "owner")
        page.goto(f"{site.url}/login?next=/console/")
        page.fill("input[name=name]", "ann")
        page.fill("input[name=password]", password)
        page.click("button")
        open_tab(page, "People")
        expect(page.locator("#accounts tr").filter(has_text="ann")).to_contain_text("owner")
        expect(page.locator("#accounts-said code")).to_have_count(0)  # shown once
        make(page, "ben", "agent")
        choose(page, "#account-chosen", "ann")
        choose(page, "#account-other-role", "agent")
        page.click("#account-change")
        expect(page.locator("#accounts-said")).to_contain_text("ann is the last owner")
        choose(page, "#account-chosen", "ben")
        page.click("#account-change")
        expect(page.locator("#accounts-said")).to_contain_text("ben is an agent from now on")
        choose(page, "#account-chosen", "ben")
        page.click("#account-reset")
        expect(page.locator("#accounts-said")).to_contain_text("The new password of ben")
        choose(page, "#account-chosen", "ben")
        page.click("#account-remove")
        page.click("#account-no")
        expect(page.locator("#accounts")).to_contain_text("ben")
        page.click("#account-remove")
        page.click("#account-yes")
        expect(page.locator("#accounts")).not_to_contain_text("ben")


def test_a_key_works_until_it_is_revoked(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "People")
        page.get_by_role("tab", name="Keys").click()
        page.click("#key-make")
        expect(page.locator("#keys-said")).to_contain_text("a key needs a name")
        page.fill("#key-name :is(input, textarea)", HOSTILE[:90])
        page.click("#key-make")
        secret = page.locator("#keys-said code").inner_text()
        row = page.locator("#keys tr").filter(has_text="onerror")
        expect(row).to_contain_text("ask")
        expect(row).to_contain_text("owner")
        assert page.locator("#keys img").count() == 0 and secret not in page.locator("#keys").inner_text()
        open_tab(page, "People")
        page.get_by_role("tab", name="Accounts").click()
        make(page, "ann", "owner")
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx.get(f"{site.url}/v1/models", headers=headers).status_code == 200
        assert httpx.get(f"{site.url}/v1/models").status_code == 401
        assert visit.dialogs == [] and visit.hosts == {site.url.split("/")[2]}


def test_settings_name_their_origin_and_hide_secrets(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "Settings")
        page.get_by_role("tab", name="Settings in force").click()
        rows = page.locator("#settings tr")
        expect(rows.filter(has_text="model_key")).to_contain_text("set, not shown")
        expect(rows.filter(has_text="passages found")).to_contain_text("environment")
        expect(rows.filter(has_text="the one folder")).to_contain_text("flag")
        expect(rows.filter(has_text="context window")).to_contain_text("default")
        assert SECRET not in page.content()


def test_the_examination_says_what_to_do_and_is_found_again(site: Served, browser: Browser) -> None:
    with visiting(browser, site.url, "/console/") as visit:
        page = visit.page
        open_tab(page, "Settings")
        page.click("#health-examine")
        expect(page.locator("#health")).to_contain_text("not in order")
        expect(page.locator("#health .wrong").filter(has_text="calibration")).to_contain_text("rungs calibrate")
        expect(page.locator("#in-force")).to_contain_text("No calibration is in force")
        page.reload()
        open_tab(page, "Settings")
        expect(page.locator("#health .wrong").filter(has_text="calibration")).to_contain_text("rungs calibrate")
