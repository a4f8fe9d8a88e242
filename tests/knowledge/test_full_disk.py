"""A disk that is really full: a small file system of its own, filled by ingesting. Needs the right to mount one."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from knowledge.errors import StorageFull
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import IngestReport
from tests.absent import absent
from tests.knowledge.storing import found, opened, put

DOCUMENTS = 160
WORDS = 400
MEGABYTES = 6


def mounted(place: Path, options: str) -> None:
    """Mount (or remount) a file system in memory, or skip."""
    command = shutil.which("mount")
    if command is None:
        absent("mount command", "mount")
    done = subprocess.run([command, "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a small file system is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted(place, f"size={MEGABYTES}m")
    yield place
    # lazily: Chroma keeps files of an index open that it could not open whole
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    numbers = random.Random(1)
    for number in range(DOCUMENTS):
        words = " ".join(f"w{numbers.randrange(100_000)}" for _ in range(WORDS))
        (folder / f"{number:03}.md").write_text(f"# Page {number}\n\nThe needle{number} is here. {words}.\n")
    return folder


def taken_in(store: KnowledgeStore, pages: Path) -> IngestReport:
    *_, report = ingest(store, [pages])
    assert isinstance(report, IngestReport)
    return report


def known(store: KnowledgeStore, pages: Path) -> dict[str, str]:
    return store.known(pages.as_posix())


def finds(store: KnowledgeStore, documents: Iterable[str]) -> bool:
    needles = [f"needle{int(path[:3])}" for path in documents]
    return all(any(f"The {needle} is here" in text for text in found(store, needle, 3)) for needle in needles)


def test_what_was_acknowledged_before_the_disk_was_full_is_still_there(disk: Path, pages: Path) -> None:
    with opened(disk) as store:
        with pytest.raises(StorageFull, match=r"rungs\.db: no room left on the disk.*documents of this run") as full:
            taken_in(store, pages)
        acknowledged = known(store, pages)
        assert 0 < len(acknowledged) < DOCUMENTS
        assert f" {len(acknowledged)} documents of this run are in" in str(full.value)
        assert finds(store, acknowledged), "while it is full, it answers"
    with opened(disk) as store:
        assert known(store, pages) == acknowledged and finds(store, acknowledged)
        with pytest.raises(StorageFull, match="no room left"):
            put(store, "big.md", ["word " * 500_000])
        assert known(store, pages) == acknowledged and store.known("manual") == {}


def test_with_room_again_the_same_command_finishes_the_work(disk: Path, pages: Path) -> None:
    with opened(disk) as store, pytest.raises(StorageFull):
        taken_in(store, pages)
    mounted(disk, "remount,size=64m")
    with opened(disk) as store:
        before = known(store, pages)
        report = taken_in(store, pages)
        assert report.added == DOCUMENTS - len(before) and report.unchanged == len(before) and not report.failed
        assert len(known(store, pages)) == DOCUMENTS and store.degraded is None
        assert finds(store, known(store, pages))


def test_a_disk_that_is_full_from_the_start_is_named(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"x" * ((MEGABYTES << 20) - 64 * 1024))
    with pytest.raises(StorageFull, match=r"rungs\.db: no room left on the disk"), opened(disk):
        pytest.fail("there is no room for its tables")
    (disk / "ballast").unlink()
    with opened(disk) as store:
        put(store, "lamp.md", ["The lamp is lit."])
        assert found(store, "lamp", 1) == ["The lamp is lit."]
