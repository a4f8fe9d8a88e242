"""Accounts and keys as HTML, and who is logged in. Formats and escapes; a secret is shown once. Called by the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ui.access.people import ROLES, Account, Key, Role
from ui.present import escaped
from ui.present.tables import empty, table

NO_ACCOUNT = (
    "There are no accounts: whoever reaches this machine's loopback is its owner. Make the first owner below; "
    "from then on everybody logs in."
)
PAGES: Mapping[str, tuple[str, Role]] = {
    "/": ("Chat", "visitor"),
    "/copilot/": ("Copilot", "agent"),
    "/console/": ("Console", "owner"),
}
"""Their names, and the least role that opens them."""
NO_KEY = "No program has a key yet."
SCOPE_WORDS = {
    "ask": "ask questions (/v1, /mcp)",
    "knowledge": "read and change the knowledge",
    "conversations": "read conversations and traces",
    "adapters": "list, promote and roll back adapters",
    "metrics": "read the metrics",
}


def accounts_html(accounts: Sequence[Account]) -> str:
    """Who there is."""
    if not accounts:
        return empty(NO_ACCOUNT)
    return table("Accounts", ["Name", "Role", "Since"], [(one.name, one.role, one.made_at[:10]) for one in accounts])


def keys_html(keys: Sequence[Key]) -> str:
    """Which keys there are."""
    if not keys:
        return empty(NO_KEY)
    rows = [(one.name, one.id, ", ".join(one.scopes), one.made_by, one.made_at[:10]) for one in keys]
    return table("Keys", ["Name", "Id", "May", "Made by", "Since"], rows)


def secret_html(words: str, secret: str, after: str) -> str:
    """A secret, once: it is in nobody's hands but the reader's."""
    return (
        f'<div class="secret" role="status"><p>{escaped(words)}</p><code tabindex="0">{escaped(secret)}</code>'
        f"<p>{escaped(after)}</p></div>"
    )


def account_html(who: Account | None, has_accounts: bool, here: str) -> str:
    """Who is logged in, the other pages that are open to them, and the way in or out.

    Args:
        who: as the doorkeeper found.
        has_accounts: whether anybody can log in; else whoever uses this machine is its owner.
        here: path of the page that this stands on.
    """
    role: Role = who.role if who else "visitor" if has_accounts else "owner"
    links = "".join(
        f'<a href="{path}">{name}</a>'
        for path, (name, least) in PAGES.items()
        if path != here and ROLES.index(role) >= ROLES.index(least)
    )
    if who:
        name = f"<span>Logged in as <strong>{escaped(who.name)}</strong> ({escaped(who.role)})</span>"
        out = (
            '<form method="post" action="/logout"><button type="submit">Log out</button>'
            '<button type="submit" name="everywhere" value="true" title="Ends your sessions in every browser">'
            "Log out everywhere</button></form>"
        )
        return f'<nav class="account" aria-label="Account">{name}{links}{out}</nav>'
    if has_accounts:
        links += f'<a href="/login?next={here}" title="To find your conversations on every device">Log in</a>'
    return f'<nav class="account" aria-label="Pages">{links}</nav>'
