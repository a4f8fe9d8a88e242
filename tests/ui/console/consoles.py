"""What the console's browser tests share."""

from __future__ import annotations

from playwright.sync_api import Page

HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) [y](https://evil.test) </script> ${alert(2)}"


def open_tab(page: Page, name: str) -> None:
    """Open a tab; on a narrow window the later ones lie in a menu."""
    page.get_by_role("tab").first.wait_for()
    tab = page.get_by_role("tab", name=name).first
    if not tab.is_visible():
        page.locator(".overflow-menu > button").first.click()
        tab = page.locator(".overflow-dropdown button").filter(has_text=name).first
    tab.click()
