"""How `rungs sites` is typed; what it does stands in `commands/sites.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import printing
from ui.cli.running import Home, Json, run_command

sites_app = typer.Typer(help="Pages that the widget stands on.", no_args_is_help=True, rich_markup_mode=None)
SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Its name or its key.")]
Origins = Annotated[
    list[str] | None, typer.Option("--origin", help="https://www.example.com; may be given several times.")
]


@sites_app.command("list")
def sites_list(as_json: Json = False, home: Home = None) -> None:
    """List the sites, each with the script tag for its pages."""
    run_command("sites-list", {}, home, as_json, _print_sites)


@sites_app.command("add", epilog="Example: rungs sites add shop --origin https://www.example.com")
def sites_add(name: SiteName, origin: Origins = None, as_json: Json = False, home: Home = None) -> None:
    """Make a site and print the script tag for its pages. Without an origin it is served nowhere yet."""
    run_command("sites-add", {"name": name, "origins": origin or []}, home, as_json, _print_site)


@sites_app.command("change")
def sites_change(
    site: SiteName,
    origin: Origins = None,
    look: Annotated[Path | None, typer.Option(help="A JSON file: title, greeting, color, texts, form, ...")] = None,
    open: Annotated[bool | None, typer.Option("--open/--shut", help="Whether it is served at all.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Change what is named; everything else stays. Origins replace those there were."""
    arguments = {"site": site, "origins": origin, "open": open, "look": _read(look) if look else None}
    run_command("sites-change", arguments, home, as_json, _print_site)


@sites_app.command("remove")
def sites_remove(site: SiteName, as_json: Json = False, home: Home = None) -> None:
    """Remove a site; the widget falls silent there. Conversations stay."""
    run_command("sites-remove", {"site": site}, home, as_json, printing.print_done)


@sites_app.command("identity", epilog="Example: rungs sites identity shop --public-key ed25519.pem")
def sites_identity(
    site: SiteName,
    public_key: Annotated[Path | None, typer.Option(help="Ed25519, PEM. Without one a shared secret is made.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a key by which the site's own server proves who a visitor is (a signed JWT)."""
    text = public_key.read_text(encoding="utf-8") if public_key else ""
    run_command("sites-identity", {"site": site, "public_key": text}, home, as_json, _print_identity)


@sites_app.command("identity-remove")
def sites_identity_remove(
    id: Annotated[str, typer.Argument(help="As it was shown when it was made.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Take such a key back, at once."""
    run_command("sites-identity-remove", {"id": id}, home, as_json, printing.print_done)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}") from error


def _print_sites(result: Mapping[str, Any]) -> None:
    for site in result["sites"]:
        _print_site(site)
    if not result["sites"]:
        typer.echo("no sites. Make one: rungs sites add shop --origin https://www.example.com")


def _print_site(site: Mapping[str, Any]) -> None:
    served = "" if site["open"] else "  (shut)"
    printing.say(f"{site['name']}  {site['key']}{served}")
    printing.say(f"  served on: {', '.join(site['origins']) or 'no page yet; name one with --origin'}")
    printing.say(f"  {site['snippet']}")


def _print_identity(key: Mapping[str, Any]) -> None:
    printing.say(f"{key['id']}  {key['algorithm']}")
    if key["algorithm"] == "HS256":
        typer.echo(f"{key['material']}\nKeep it on the site's server alone: it is shown this once.")
    printing.say(
        f"Sign JWTs with header kid {key['id']} and claims sub, jti, exp (an hour at most), aud {key['audience']}."
    )
