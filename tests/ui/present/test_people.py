"""Who is logged in, and the pages that are open to them."""

from __future__ import annotations

import re

import pytest

from ui.access.doors import door_of
from ui.access.people import Account, Role
from ui.present.people import PAGES, account_html


def links(html: str) -> list[str]:
    return re.findall(r'href="([^"]+)"', html)


@pytest.mark.parametrize(
    ("role", "here", "open_to"),
    [
        ("user", "/", []),
        ("agent", "/", ["/copilot/"]),
        ("agent", "/copilot/", ["/"]),
        ("owner", "/", ["/copilot/", "/console/"]),
        ("owner", "/copilot/", ["/", "/console/"]),
        ("owner", "/console/", ["/", "/copilot/"]),
    ],
)
def test_the_bar_leads_where_one_may_go_and_out(role: Role, here: str, open_to: list[str]) -> None:
    html = account_html(Account("ann", role, "2026"), True, here)
    assert links(html) == open_to and f"({role})" in html and "ann" in html
    assert '<form method="post" action="/logout">' in html


def test_who_is_not_logged_in_may_log_in_where_there_are_accounts() -> None:
    assert links(account_html(None, True, "/")) == ["/login?next=/"]
    assert links(account_html(None, False, "/console/")) == ["/", "/copilot/"], "this machine is its owner's"
    assert "logout" not in account_html(None, False, "/console/")


def test_a_hostile_name_is_only_words() -> None:
    html = account_html(Account("<img src=x onerror=alert(1)>", "user", "2026"), True, "/")
    assert "<img" not in html


@pytest.mark.parametrize("path", PAGES)
def test_the_roles_are_those_of_the_doors(path: str) -> None:
    assert door_of(path).role == PAGES[path][1]
