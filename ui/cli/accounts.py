"""How `rungs accounts` and `rungs keys` are typed; what they do stands in `commands/accounts.py`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from ui.cli import printing
from ui.cli.running import Home, Json, run_command

accounts_app = typer.Typer(
    help="Who may log in. Passwords are read from standard input.", no_args_is_help=True, rich_markup_mode=None
)
keys_app = typer.Typer(help="Keys for programs that use the API.", no_args_is_help=True, rich_markup_mode=None)
AccountName = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and ._@+- please.")]


class RoleChoice(StrEnum):
    """What `--role` takes; each may do what the ones before it may."""

    USER = "user"
    AGENT = "agent"
    OWNER = "owner"


class ScopeChoice(StrEnum):
    """What `--scope` takes."""

    ASK = "ask"
    KNOWLEDGE = "knowledge"
    CONVERSATIONS = "conversations"
    ADAPTERS = "adapters"
    METRICS = "metrics"


@accounts_app.command("list")
def accounts_list(as_json: Json = False, home: Home = None) -> None:
    """List the accounts."""
    run_command("accounts-list", {}, home, as_json, printing.print_accounts)


@accounts_app.command("create-owner", epilog="Example: rungs accounts create-owner ann < password.txt")
def accounts_create_owner(name: AccountName, as_json: Json = False, home: Home = None) -> None:
    """Make an owner; from the first one on everybody logs in."""
    arguments = {"name": name, "role": "owner", "password": _password()}
    run_command("accounts-add", arguments, home, as_json, printing.print_account)


@accounts_app.command("add", epilog="Example: rungs accounts add ben --role agent < password.txt")
def accounts_add(
    name: AccountName,
    role: Annotated[RoleChoice, typer.Option(help="What the person may do.")] = RoleChoice.AGENT,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make an account."""
    arguments = {"name": name, "role": role.value, "password": _password()}
    run_command("accounts-add", arguments, home, as_json, printing.print_account)


@accounts_app.command("password")
def accounts_password(name: AccountName, as_json: Json = False, home: Home = None) -> None:
    """Change a password; whoever is logged in with the old one is logged out."""
    run_command("accounts-password", {"name": name, "password": _password()}, home, as_json, printing.print_done)


@accounts_app.command("log-out")
def accounts_log_out(name: AccountName, as_json: Json = False, home: Home = None) -> None:
    """Log somebody out everywhere, for example after a computer was lost."""
    run_command("accounts-log-out", {"name": name}, home, as_json, printing.print_logged_out)


@accounts_app.command("remove")
def accounts_remove(name: AccountName, as_json: Json = False, home: Home = None) -> None:
    """Remove an account."""
    run_command("accounts-remove", {"name": name}, home, as_json, printing.print_done)


@keys_app.command("list")
def keys_list(as_json: Json = False, home: Home = None) -> None:
    """List the keys, without their secrets."""
    run_command("keys-list", {}, home, as_json, printing.print_keys)


@keys_app.command("create", epilog="Example: rungs keys create 'Open WebUI' --scope ask")
def keys_create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[ScopeChoice], typer.Option(help="What it opens; may be given several times.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a key; its secret is shown once."""
    arguments = {"name": name, "scopes": [one.value for one in scope]}
    run_command("keys-create", arguments, home, as_json, printing.print_key)


@keys_app.command("revoke")
def keys_revoke(
    id: Annotated[str, typer.Argument(help="As `rungs keys list` shows it.")], as_json: Json = False, home: Home = None
) -> None:
    """Take a key back, at once."""
    run_command("keys-revoke", {"id": id}, home, as_json, printing.print_done)


def _password() -> str:
    """From the terminal without an echo, or a line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
