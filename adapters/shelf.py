"""Where adapters stand on the disk, and how one gets there and away in one step.

    <folder>/<name>/stages.json             who is live, who was, and who decided that
    <folder>/<name>/<revision>/card.json    beside adapter_config.json and adapter_model.safetensors
    <folder>/.incoming-…, .removed-…        half-made and half-deleted ones; swept when the next one comes

Any number of threads and processes may read at any time; whoever changes something holds the lock. Decides nothing and
checks no adapter. Used by the registry alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from adapters.card import CARD_BYTES_MAX, AdapterCard, dump_card, parse_card
from adapters.checks import CARD, NAME, REVISION
from adapters.disk import explained, held, locked, opened, sync, write_whole
from adapters.errors import AdapterError
from adapters.stages import STAGES_BYTES_MAX, Stages, dump_stages, parse_stages

STAGES = "stages.json"
LOCK = ".lock"
PART = ".part"
INCOMING, REMOVED = ".incoming-", ".removed-"


class Shelf:
    """The adapters under one folder. Names and revisions are checked by the caller."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self.folder = folder

    def place(self, name: str, revision: str) -> Path:
        """The folder of a revision, whether it is there or not."""
        return self.folder / name / revision

    def names(self) -> tuple[str, ...]:
        """All names, sorted; one whose revisions were all removed stays."""
        return tuple(name for name in _folders(self.folder) if NAME.fullmatch(name))

    def revisions(self, name: str) -> tuple[str, ...]:
        """All revisions of a name, sorted."""
        return tuple(revision for revision in _folders(self.folder / name) if REVISION.fullmatch(revision))

    def stages(self, name: str) -> Stages:
        """The stages of a name.

        Raises:
            AdapterError: their file is damaged.
        """
        path = self.folder / name / STAGES
        if not path.exists():
            return Stages()
        with explained(f"{path} cannot be read"), opened(path.parent, STAGES, STAGES_BYTES_MAX) as file:
            raw = file.read()
        try:
            return parse_stages(raw, str(path))
        except AdapterError as error:
            raise AdapterError(f"{error} Restore it, or delete it: then nothing of {name} is live.") from error

    def write_stages(self, name: str, stages: Stages) -> None:
        """Replace the stages of a name. Needs `changing`."""
        write_whole(self.folder / name / STAGES, dump_stages(stages), self.folder / PART)

    def card(self, name: str, revision: str, stages: Stages) -> AdapterCard:
        """The card of a revision, with its stage out of `stages`.

        Raises:
            AdapterError: the revision is not there, or its card is damaged.
        """
        folder = self.place(name, revision)
        if not folder.is_dir():
            raise AdapterError(f"there is no {name} {revision}. `rungs adapters list` shows what there is.")
        with explained(f"{folder} cannot be read"), opened(folder, CARD, CARD_BYTES_MAX) as file:
            card = parse_card(file.read(), f"{name} {revision}: {CARD}")
        if (card.name, card.revision) != (name, revision):
            raise AdapterError(f"{folder} holds the card of another adapter. Remove it, then add the adapter again.")
        history = stages.history(revision)
        promotions = [change.by for change in history if change.stage == "live"]
        return replace(
            card,
            stage=stages.of(revision),
            promoted_by=promotions[-1] if promotions else None,
            reason=history[-1].reason if history else None,
            history=history,
        )

    def write_card(self, card: AdapterCard) -> None:
        """Replace the card of a revision. Needs `changing`."""
        write_whole(self.place(card.name, card.revision) / CARD, dump_card(card), self.folder / PART)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The only one who changes anything, among threads and processes.

        Raises:
            AdapterError: somebody else holds the lock for too long, or the folder cannot be written.
        """
        with explained(f"{self.folder} cannot be changed"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with locked(self.folder / LOCK):
                yield

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """An empty folder that only this call uses; deleted if it is still there afterwards."""
        with self.changing():
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.folder))
            owner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            held(owner)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(owner)

    def put(self, folder: Path, card: AdapterCard) -> None:
        """Give a folder made by `aside` its card and move it to its place. Needs `changing`."""
        place = self.place(card.name, card.revision)
        write_whole(folder / CARD, dump_card(card), folder / PART)
        place.parent.mkdir(exist_ok=True, mode=0o700)
        sync(self.folder)
        folder.rename(place)
        sync(place.parent)

    def take_away(self, name: str, revision: str) -> None:
        """Delete a revision. Needs `changing`."""
        place = self.place(name, revision)
        trash = Path(tempfile.mkdtemp(prefix=REMOVED, dir=self.folder))
        place.rename(trash / revision)
        sync(place.parent)
        shutil.rmtree(trash, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what calls that were killed left behind."""
        for left in self.folder.iterdir():
            if left.name.startswith(REMOVED) or (left.name.startswith(INCOMING) and _is_orphan(left)):
                shutil.rmtree(left, ignore_errors=True)


def _is_orphan(folder: Path) -> bool:
    """Whether the call that made a folder is over. Asked under the same lock under which folders are made."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return held(descriptor)
        finally:
            os.close(descriptor)
    return False


def _folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    with explained(f"{folder} cannot be read"):
        return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()))
