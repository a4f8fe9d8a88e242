"""What tests share: the prepared weights (made once per checkout) and one running embedded engine per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.models.weights import fingerprint, prepare


@pytest.fixture(scope="session")
def prepared_home(pytestconfig: pytest.Config) -> Path:
    """A RUNGS_HOME that is kept between runs, for its weights alone."""
    cache = pytestconfig.cache
    assert cache is not None
    return cache.mkdir("rungs-weights")


@pytest.fixture(scope="session")
def weights(prepared_home: Path) -> Path:
    """The Q8_0 weights of the embedded model."""
    return prepare(prepared_home)


@pytest.fixture(scope="session")
def engine(weights: Path, prepared_home: Path) -> Iterator[EmbeddedModel]:
    """The real embedded model, two slots, no adapter."""
    model = EmbeddedModel(EngineOptions(weights), fingerprint(weights, prepared_home))
    yield model
    model.close()
