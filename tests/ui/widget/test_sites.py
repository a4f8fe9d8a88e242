"""Sites by the command line and on the console's tab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assistant.build import build
from tests.ui.serving import CommandLine
from tests.ui.test_server import settings_of
from ui.console.sites import SitesTab
from ui.widget.sites import Sites

REQUEST: Any = SimpleNamespace(request=None)
FIELDS = (
    "shop", "https://www.example.com\n", True, "Help", "Hi!", 5, "Can I help?", "What is a lamp?",
    "mail, Your e-mail, email", "left", "#123456", "dark", "de", "send = Los",
)  # fmt: skip


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[SitesTab]:
    rungs = build(settings_of(tmp_path / "home"))
    yield SitesTab(rungs, Sites(rungs.engine))
    rungs.close()


def test_a_site_is_made_changed_and_removed_by_the_command_line(rungs: CommandLine, tmp_path: Path) -> None:
    made = rungs.json("sites", "add", "shop", "--origin", "https://Shop.example.com/")
    assert made["origins"] == ["https://shop.example.com"] and made["key"] in made["snippet"]
    look = tmp_path / "look.json"
    look.write_text(json.dumps({"title": "Help desk"}))
    changed = rungs.json("sites", "change", "shop", "--look", str(look), "--shut")
    assert changed["look"]["title"] == "Help desk" and not changed["open"] and changed["origins"] == made["origins"]
    key = rungs.json("sites", "identity", "shop")
    assert key["algorithm"] == "HS256" and key["audience"] == made["key"]
    assert rungs.json("sites", "identity-remove", key["id"])["removed"]
    assert "shop" in rungs("sites", "list").stdout
    assert rungs.json("sites", "remove", "shop")["removed"]
    assert rungs.json("sites", "list") == {"sites": []}
    assert "no site" in rungs.refused("sites", "remove", "shop")
    assert "no origin" in rungs.refused("sites", "add", "bad", "--origin", "https://*.example.com")


def test_what_is_typed_on_the_tab_is_kept_and_found_again(tab: SitesTab) -> None:
    key, shown, rows, keys, told = tab.kept("", REQUEST, *FIELDS)
    site = tab.sites.find(key)
    assert site and site.look.texts == {"send": "Los"} and site.look.form[0].type == "email"
    assert site.look.proactive and site.look.proactive.seconds == 5
    assert keys == [key] and rows[0][0] == "shop" and told == "" and key in shown and "&lt;script" in shown
    event: Any = SimpleNamespace(index=[0, 0])
    again = tab.chosen(keys, event)
    assert again[0] == key and again[1:-1] == (*FIELDS[:1], "https://www.example.com", *FIELDS[2:])
    assert tab.kept(key, REQUEST, *again[1:-1])[0] == key, "what is shown can be kept as it is"
    assert tab.removed(key)[3] == []


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (1, "https://*.x.test", "no origin"),
        (9, "middle", "position"),
        (10, "red", "color"),
        (13, "send", "key = words"),
    ],
)
def test_what_will_not_do_is_said_and_nothing_is_lost(tab: SitesTab, place: int, value: str, told: str) -> None:
    fields: list[Any] = list(FIELDS)
    fields[place] = value
    _, shown, *_ = tab.kept("", REQUEST, *fields)
    assert told in shown
    assert tab.sites.all() == ()
