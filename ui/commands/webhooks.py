"""The commands of webhooks. Like those of `table.py`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from ui.commands.steps import Arguments, Command, Steps, decided_by

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.api.webhooks import Webhooks


def webhooks_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Where which events go, and what became of the latest."""
    yield {"result": {"webhooks": [asdict(one) for one in _webhooks(rungs).all()]}}


def webhooks_add(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Make a webhook; its secret is told here and nowhere else."""
    made, secret = _webhooks(rungs).add(str(arguments["url"]), arguments["events"], decided_by(arguments))
    yield {"result": {**asdict(made), "secret": secret}}


def webhooks_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Take a webhook away, with everything on its way to it."""
    id = str(arguments["id"])
    _webhooks(rungs).remove(id)
    yield {"result": {"id": id, "removed": True}}


COMMANDS: Mapping[str, Command] = {
    "webhooks-list": webhooks_list,
    "webhooks-add": webhooks_add,
    "webhooks-remove": webhooks_remove,
}


def _webhooks(rungs: Rungs) -> Webhooks:
    from ui.api.webhooks import Webhooks

    return Webhooks(rungs.engine, rungs.settings.webhook_private)
