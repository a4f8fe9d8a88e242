"""Runs a store's tests on each kind of database."""

from __future__ import annotations

import pytest

from tests.knowledge import storing


@pytest.fixture
def each_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `storing.opened` opens, of each kind in turn."""
    if not database_url.startswith("sqlite"):
        monkeypatch.setattr(storing, "URL", database_url)
