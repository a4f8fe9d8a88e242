"""The adapter that ships: live on a fresh home, gone for good once retired, replaced by a newer one where it served."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from assistant import bundled
from assistant.bundled import MARK, NAME, take_in
from assistant.confidence import find_calibration
from assistant.models import make_model
from assistant.serving import registry_of, serving_of
from assistant.settings import Settings

pytestmark = pytest.mark.engine
SIZE_MAX = 12 * 1024 * 1024


@pytest.fixture
def settings(tmp_path: Path, weights: Path) -> Iterator[Settings]:
    (tmp_path / "models").mkdir()
    for path in weights.parent.glob(f"{weights.name}*"):
        (tmp_path / "models" / path.name).symlink_to(path)
    yield Settings(home=tmp_path, demo=False)


def test_a_fresh_home_serves_it_with_its_gate_report_and_its_calibration(settings: Settings) -> None:
    take_in(settings)
    serving = serving_of(settings)
    version = serving.versions[NAME]
    card = registry_of(settings).show(*version.split("@"))
    assert (card.stage, card.promoted_by) == ("live", bundled.BY)
    assert card.gate is not None and card.gate.verdict == "accept"
    assert all(source.licence for source in card.lineage.sources)
    model = make_model(settings, {})
    try:
        calibration = find_calibration(settings.home, model.fingerprint)
    finally:
        model.close()
    belongs = calibration.levels["lora"].belongs_to
    assert belongs["adapter"] == version, "fit it again: python -m bench.shipped_calibration"


def test_it_is_small() -> None:
    (file,) = [path for path in files("adapters").joinpath("bundled").iterdir() if path.name.endswith("-adapter")]
    assert Path(str(file)).stat().st_size <= SIZE_MAX


def test_once_retired_it_stays_retired(settings: Settings) -> None:
    take_in(settings)
    registry = registry_of(settings)
    registry.retire(NAME, registry.live()[NAME], "ann")
    take_in(settings)
    assert registry.live() == {}
    assert serving_of(settings).folders == {}


def test_a_newer_one_goes_live_only_where_the_old_one_was(settings: Settings) -> None:
    take_in(settings)
    registry = registry_of(settings)
    revision = registry.live()[NAME]
    for live in (True, False):
        if not live:
            registry.retire(NAME, revision, "ann")
        (settings.home / MARK).write_text("bundled-000000000000.rungs-adapter")
        take_in(settings)
        assert (registry.live() == {NAME: revision}) == live


@pytest.mark.parametrize("changed", [{"adapter": Path("mine")}, {"model": "scripted"}])
def test_who_chose_otherwise_gets_none(settings: Settings, changed: dict[str, object]) -> None:
    take_in(settings.model_copy(update=changed))
    assert not (settings.home / MARK).exists()


def test_what_cannot_be_taken_in_stops_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    (settings.home / "adapters").write_text("in the way")
    take_in(settings)
    assert "was not taken in" in caplog.text
