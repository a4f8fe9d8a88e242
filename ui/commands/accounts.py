"""The commands of people: accounts and keys. Like those of `table.py`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from ui.commands.steps import Arguments, Command, Steps, decided_by

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.access.people import People


def accounts_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Who there is."""
    yield {"result": {"accounts": [asdict(account) for account in _people(rungs).accounts()]}}


def accounts_add(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make an account."""
    made = _people(rungs).add(str(arguments["name"]), arguments["role"], str(arguments["password"]))
    yield {"result": asdict(made)}


def accounts_password(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Change a password; whoever is logged in with the old one is logged out."""
    name = str(arguments["name"])
    _people(rungs).set_password(name, str(arguments["password"]))
    yield {"result": {"name": name, "changed": True}}


def accounts_log_out(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """End every session of an account."""
    name = str(arguments["name"])
    yield {"result": {"name": name, "sessions_ended": _people(rungs).log_out_all(name)}}


def accounts_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Remove an account."""
    name = str(arguments["name"])
    _people(rungs).remove(name)
    yield {"result": {"name": name, "removed": True}}


def keys_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Which keys there are."""
    yield {"result": {"keys": [asdict(key) for key in _people(rungs).all_keys()]}}


def keys_create(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make a key; its secret is told here and nowhere else."""
    key, secret = _people(rungs).add_key(str(arguments["name"]), arguments["scopes"], decided_by(arguments))
    yield {"result": {**asdict(key), "secret": secret}}


def keys_revoke(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Take a key back."""
    id = str(arguments["id"])
    _people(rungs).revoke(id)
    yield {"result": {"id": id, "revoked": True}}


COMMANDS: Mapping[str, Command] = {
    "accounts-list": accounts_list,
    "accounts-add": accounts_add,
    "accounts-password": accounts_password,
    "accounts-log-out": accounts_log_out,
    "accounts-remove": accounts_remove,
    "keys-list": keys_list,
    "keys-create": keys_create,
    "keys-revoke": keys_revoke,
}


def _people(rungs: Rungs) -> People:
    from ui.access.people import People

    return People(rungs.engine)
