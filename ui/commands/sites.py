"""The commands of sites: where the widget may stand, its script tag, keys that prove identities. Like `table.py`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ui.commands.steps import Arguments, Command, Steps, decided_by

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.widget.sites import Site, Sites


def sites_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Every site with its snippet."""
    yield {"result": {"sites": [_document(rungs, site) for site in _sites(rungs).all()]}}


def sites_add(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make a site."""
    origins = list(arguments.get("origins") or [])
    made = _sites(rungs).add(str(arguments["name"]), origins, decided_by(arguments))
    yield {"result": _document(rungs, made)}


def sites_change(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Change a site's origins, its look, or whether it is served."""
    named = {name: arguments.get(name) for name in ("name", "origins", "look", "open")}
    yield {"result": _document(rungs, _sites(rungs).change(str(arguments["site"]), **named))}


def sites_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Remove a site."""
    name = str(arguments["site"])
    _sites(rungs).remove(name)
    yield {"result": {"name": name, "removed": True}}


def sites_identity(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make a key by which a site's own server proves who a visitor is; a secret is told here and nowhere else."""
    public = str(arguments.get("public_key") or "")
    key = _sites(rungs).add_identity_key(str(arguments["site"]), "EdDSA" if public else "HS256", public)
    yield {"result": {**asdict(key), "audience": key.site}}


def sites_identity_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Take such a key back."""
    id = str(arguments["id"])
    _sites(rungs).remove_identity_key(id)
    yield {"result": {"id": id, "removed": True}}


COMMANDS: Mapping[str, Command] = {
    "sites-list": sites_list,
    "sites-add": sites_add,
    "sites-change": sites_change,
    "sites-remove": sites_remove,
    "sites-identity": sites_identity,
    "sites-identity-remove": sites_identity_remove,
}


def address_of(rungs: Rungs) -> str:
    """Where other hosts' pages reach Rungs: the first of the owner's names, or this machine."""
    settings = rungs.settings
    if settings.hosts:
        return f"https://{settings.hosts[0]}"
    return f"http://{settings.host}:{settings.port}"


def _document(rungs: Rungs, site: Site) -> dict[str, Any]:
    from ui.widget.sites import snippet

    return {**asdict(site), "look": site.look.model_dump(), "snippet": snippet(site, address_of(rungs))}


def _sites(rungs: Rungs) -> Sites:
    from ui.widget.sites import Sites

    return Sites(rungs.engine)
