"""How `rungs webhooks` is typed; what it does stands in `commands/webhooks.py`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ui.cli import printing
from ui.cli.running import Home, Json, run_command

webhooks_app = typer.Typer(help="Other programs that are told of events.", no_args_is_help=True, rich_markup_mode=None)


class EventChoice(StrEnum):
    """What `--event` takes."""

    HANDED_OFF = "handed_off"
    RESOLVED = "resolved"
    FEEDBACK = "feedback"
    ADAPTER_PROMOTED = "adapter_promoted"


@webhooks_app.command("list")
def webhooks_list(as_json: Json = False, home: Home = None) -> None:
    """List the webhooks, without their secrets, and what became of the latest delivery to each."""
    run_command("webhooks-list", {}, home, as_json, _print_all)


@webhooks_app.command("add", epilog="Example: rungs webhooks add https://example.com/hook --event handed_off")
def webhooks_add(
    url: Annotated[str, typer.Argument(help="An https address that the internet can reach.")],
    event: Annotated[list[EventChoice], typer.Option(help="What to tell; may be given several times.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a webhook; its secret, by which deliveries are signed, is shown once."""
    arguments = {"url": url, "events": [one.value for one in event]}
    run_command("webhooks-add", arguments, home, as_json, _print_one)


@webhooks_app.command("remove")
def webhooks_remove(
    id: Annotated[str, typer.Argument(help="As `rungs webhooks list` shows it.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Take a webhook away, with everything on its way to it."""
    run_command("webhooks-remove", {"id": id}, home, as_json, printing.print_done)


def _print_one(made: Any) -> None:
    printing.say(f"{made['id']}: {', '.join(made['events'])} go to {made['url']}")
    printing.say(f"secret, shown this once: {made['secret']}")


def _print_all(told: Any) -> None:
    for one in told["webhooks"]:
        printing.say(f"{one['id']}  {one['url']}  {' '.join(one['events'])}  {one['last'] or 'nothing sent yet'}")
    if not told["webhooks"]:
        typer.echo("none; make one: rungs webhooks add https://example.com/hook --event handed_off")
