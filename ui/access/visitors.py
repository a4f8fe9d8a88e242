"""Who uses the chat page: an account that is logged in, or whoever holds a browser's secret.

A browser can name its own secret only: a name that is no secret (an account's, a surface's) is nobody. Called by
the chat page and `live.py`.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from ui.access.people import Account

SECRET = re.compile(r"[0-9a-f]{32}")
ACCOUNT = "account "


def visitor_of(who: Any, claimed: str | None) -> str:
    """The visitor that conversations belong to; empty where there is none.

    Args:
        who: who is logged in, as the doorkeeper found (`scope["rungs.who"]`).
        claimed: what the browser says its secret is.
    """
    return f"{ACCOUNT}{who.name}" if isinstance(who, Account) else secret_of_browser(claimed)


def secret_of_browser(claimed: str | None) -> str:
    """A browser's own secret; empty where it names anything else."""
    return claimed if claimed and SECRET.fullmatch(claimed) else ""


def new_visitor() -> str:
    """A secret for a browser that has none."""
    return secrets.token_hex(16)


def who_asks(request: Any) -> Account | None:
    """The account behind a page's request, if somebody is logged in."""
    inner = getattr(request, "request", None)
    who = inner.scope.get("rungs.who") if inner is not None else None
    return who if isinstance(who, Account) else None
