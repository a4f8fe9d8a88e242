"""What tests share: the prepared weights (made once per checkout), one engine and one PostgreSQL per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.models.weights import fingerprint, prepare
from knowledge.database import open_engine
from tests import chroma, postgres
from tests.absent import absent


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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A real server with a template that is migrated; skipped where it is not installed, but never in CI."""
    with postgres.running() as server:
        if server is None:
            absent("PostgreSQL", "postgresql")
        postgres.make_template(server)
        yield server


@pytest.fixture
def empty_postgresql(postgresql: postgres.Server) -> Iterator[str]:
    """The URL of a database without tables."""
    url = postgresql.make()
    yield url
    postgresql.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rungs.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgresql")
    url = server.make(postgres.TEMPLATE)
    yield url
    server.drop(url)


@pytest.fixture
def engine_of_each(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database, of each kind in turn."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def chroma_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chroma.ChromaServer]:
    """A real Chroma server that many tests share: each store names its own collections."""
    server = chroma.ChromaServer(tmp_path_factory.mktemp("chroma"))
    yield server
    server.stop()


@pytest.fixture
def chroma_of_its_own(tmp_path: Path) -> Iterator[chroma.ChromaServer]:
    """A real Chroma server that a test may stop and start."""
    (tmp_path / "chroma-server").mkdir()
    server = chroma.ChromaServer(tmp_path / "chroma-server")
    yield server
    server.stop()
