"""Homes for tests."""

from __future__ import annotations

from pathlib import Path

from assistant.bundled import MARK, shipped


def retire_the_shipped_adapter(home: Path) -> None:
    """A home whose owner took the adapter that ships out of service."""
    file = shipped()
    if file is not None:
        (home / MARK).write_text(file.name)
