"""What a test needs and a machine lacks: the test is skipped there, but fails in CI, which has to install it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str, package: str) -> NoReturn:
    """Skip, or fail where `CI` is set.

    Args:
        what: as a person calls it.
        package: of Debian.
    """
    if os.environ.get("CI"):
        pytest.fail(f"no {what} on this machine, and CI must have one: install Debian's `{package}`")
    pytest.skip(f"no {what} on this machine")
