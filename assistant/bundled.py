"""The adapter that ships with Rungs for the embedded model: taken in and promoted on the first start.

Once retired it stays retired; a newer Rungs brings its newer revision, which goes live only where the old one was.
Called by `build.py`.
"""

from __future__ import annotations

import logging
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

from adapters.errors import AdapterError
from assistant.serving import registry_of
from assistant.settings import Settings

NAME = "bundled"
MARK = "bundled-adapter"
"""File in RUNGS_HOME: which one was taken in."""
BY = "Rungs"
log = logging.getLogger(__name__)


def shipped() -> Traversable | None:
    """The file that ships; None where an installation was made without it."""
    return next((f for f in files("adapters").joinpath("bundled").iterdir() if f.name.endswith("-adapter")), None)


def take_in(settings: Settings) -> None:
    """See to it that a home on the embedded model has the adapter that ships.

    What fails is logged, and level lora does without.
    """
    if settings.model != "embedded" or settings.model_file or settings.adapter:
        return
    mark = settings.home / MARK
    file, taken = shipped(), mark.read_text(encoding="utf-8") if mark.exists() else ""
    if file is None or taken == file.name:
        return
    try:
        registry = registry_of(settings)
        with as_file(file) as path:
            card = registry.import_file(path, NAME, trust_gate=True)
        live = registry.live()
        if NAME in live or not (taken or live):
            registry.promote(NAME, card.revision, BY, "ships with Rungs")
        mark.write_text(file.name, encoding="utf-8")
    except (AdapterError, OSError) as error:
        log.warning("the adapter that ships with Rungs was not taken in: %s", error)
