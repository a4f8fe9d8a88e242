"""Accounts and keys as HTML. Formats and escapes; a secret is shown once. Called by the console."""

from __future__ import annotations

from collections.abc import Sequence

from ui.people import Account, Key
from ui.present import escaped
from ui.present_tables import empty, table

NO_ACCOUNT = (
    "There are no accounts: whoever reaches this machine's loopback is its owner. Make the first owner below; "
    "from then on everybody logs in."
)
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
