"""Which adapters are served to whom: what the registry says is live, and what the settings say.

Called by `build.py` before a model is made, since an engine loads its adapters at its start.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.errors import AdapterError
from adapters.registry import Registry
from assistant.base_model import base_model_of
from assistant.errors import BadSettings
from assistant.models.adapter_files import version_of
from assistant.settings import Settings

DEFAULT = "default"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a model is to load, and whom it is for."""

    folders: Mapping[str, Path] = field(default_factory=dict)
    """PEFT folders by adapter name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """`name@revision` by adapter name."""
    sites: Mapping[str, str] = field(default_factory=dict)
    """Adapter by site; `default` is for everybody else."""
    problems: tuple[str, ...] = ()
    """Live adapters that cannot be served, in words; level lora does without them."""


def serving_of(settings: Settings) -> Serving:
    """The adapters to load: the folder that the settings name, else the live ones that somebody is to be served by.

    Without a setting everybody is served by the adapter that was promoted; where several names are live, by the one
    called `default`, else by the one promoted last.

    Raises:
        BadSettings: a site's adapter is not live.
        AdapterError: the registry cannot be read.
    """
    if settings.adapter:
        name = settings.adapter.name
        return Serving({name: settings.adapter}, {name: version_of(settings.adapter)}, {DEFAULT: name})
    if settings.model in ("served", "scripted") or not (settings.home / "adapters").is_dir():
        _check_sites(settings, ())
        return Serving()
    registry = registry_of(settings)
    live = registry.live()
    _check_sites(settings, tuple(live))
    sites = dict(settings.adapters)
    if live and DEFAULT not in sites:
        sites[DEFAULT] = DEFAULT if DEFAULT in live else max(live, key=lambda name: _promoted_at(registry, name))
    folders, problems = {}, []
    for name in sorted(set(sites.values())):
        try:
            folders[name] = registry.load(name, live[name]).folder
        except AdapterError as error:
            log.error("adapter %s is not served: %s", name, error)
            problems.append(str(error))
    return Serving(folders, {name: f"{name}@{live[name]}" for name in folders}, sites, tuple(problems))


def registry_of(settings: Settings) -> Registry:
    """The adapters of a home.

    Raises:
        AdapterError: the model at hand keeps its adapters elsewhere.
    """
    return Registry(settings.home, base_model_of(settings))


def _check_sites(settings: Settings, live: tuple[str, ...]) -> None:
    missing = sorted({name for name in settings.adapters.values() if name not in live})
    if missing:
        there = ", ".join(live) or "none"
        raise BadSettings(
            f"settings: adapters: {', '.join(missing)} is not live (live: {there}). "
            "Promote it, or take it out: rungs adapters promote NAME"
        )


def _promoted_at(registry: Registry, name: str) -> str:
    card = registry.show(name, registry.live()[name])
    return max((change.at for change in card.history if change.stage == "live"), default="")
