"""Which sources are for agents' eyes only, and which surfaces are agents'.

A surface that is not named here is a visitor's: it never finds, cites or suggests what is internal. Called by
`finding.py`, `drafting.py` and the surfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assistant.types import DRAFTING

SEE_INTERNAL = frozenset({DRAFTING, "console"})
"""Surfaces of agents and owners."""


def is_internal(source: str, internal: Sequence[str]) -> bool:
    """Whether the setting `internal_sources` names a source, whole or by the last part of its path."""
    return source in internal or source.rstrip("/").rsplit("/", 1)[-1] in internal


def seen_on(surface: str, internal: Sequence[str]) -> Callable[[str], bool] | None:
    """Which sources a surface may see; None is all of them."""
    if surface in SEE_INTERNAL or not internal:
        return None
    return lambda source: not is_internal(source, internal)
