"""What a command is and what it yields on its way: shared by the commands, `cli/` and `control.py`."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from knowledge.types import Progress

if TYPE_CHECKING:
    from assistant.build import Rungs

Arguments = Mapping[str, Any]
Step = dict[str, Any]
"""`{"progress": {"done", "total", "label"}}`, or last `{"result": …}`; `{"row": …}` for one line of a batch,
`{"climb": {"level", "state", "note"}}` for what a question goes through, `{"note": "..."}` for a word in between."""
Steps = Generator[Step, None, None]
Command = Callable[["Rungs", Arguments, threading.Event], Steps]
"""What runs, with what, and an event that stops it once it is set. Closing the iterator stops it, too."""


def progress_step(step: Progress) -> Step:
    """A step of progress."""
    return {"progress": asdict(step)}


def decided_by(arguments: Arguments) -> str:
    """Who decides: as given, else who is logged in."""
    try:
        return str(arguments.get("by") or getpass.getuser())
    except (OSError, KeyError):  # a container's user without a name
        return "owner"
