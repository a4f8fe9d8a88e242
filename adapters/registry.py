"""The adapters of this deployment: what there is, which revision of each name is live, and the way back.

An adapter is copied aside, checked, and appears in one step; its files never change afterwards and are compared with
the hashes on its card whenever it is loaded. A person promotes; where this deployment's gate did not accept a revision,
that person says why, on the card. Any number of threads and processes may call. Trains, judges and serves nothing:
those who do are given a folder by `load`. Called by `assistant/build.py` and the surfaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from adapters import stages as transitions
from adapters.bundle import pack, unpack
from adapters.card import (
    AdapterCard,
    GateReport,
    Lineage,
    TrainingSettings,
    check_gate,
    dump_card,
    objection,
    parse_card,
    portable,
)
from adapters.checks import (
    CARD,
    BaseModel,
    CheckedAdapter,
    check_card,
    check_folder,
    check_name,
    check_revision,
    copy_adapter,
    tensor_bytes_max,
)
from adapters.disk import explained
from adapters.errors import AdapterError
from adapters.shelf import Shelf
from adapters.stages import Decision, Stages, said


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A revision whose files were just compared with its card."""

    card: AdapterCard
    folder: Path
    """A PEFT folder, as `export`, vLLM and `peft` take it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the registry holds."""

    cards: tuple[AdapterCard, ...]
    """By name, oldest first."""
    problems: tuple[str, ...]
    """Revisions whose card cannot be read, in words; they hide no other."""


class Registry:
    """The adapters under one RUNGS_HOME that fit one base model."""

    def __init__(self, home: Path, base: BaseModel) -> None:
        """Nothing is read or made yet.

        Args:
            home: RUNGS_HOME.
            base: what every adapter must fit.
        """
        self._shelf = Shelf(home / "adapters")
        self._base = base

    def add(self, folder: Path, card: AdapterCard) -> AdapterCard:
        """Take in a trained adapter as a candidate; one that is there already is left as it is.

        Args:
            folder: PEFT's `save_pretrained` wrote it; it is copied and not needed afterwards.
            card: without revision and files, which are filled in from the content.

        Raises:
            AdapterError: the folder or the card is refused, or there is no room.
        """
        check_name(card.name)
        with self._copied(folder) as aside:
            return self._settle(aside, check_folder(aside, self._base), card)

    def adopt(self, folder: Path, name: str) -> AdapterCard:
        """Take in a PEFT folder from elsewhere, of which nothing is known but what its files say.

        Raises:
            AdapterError: as `add`.
        """
        check_name(name)
        with self._copied(folder) as aside:
            checked = check_folder(aside, self._base)
            lora = checked.lora
            settings = TrainingSettings(lora.rank, lora.alpha, lora.targets, None, None, None)
            card = AdapterCard(name, _now(), self._base.name, self._base.hashes[0], Lineage(None, ()), settings)
            return self._settle(aside, checked, card)

    def import_file(self, path: Path, name: str | None = None, *, trust_gate: bool = False) -> AdapterCard:
        """Take in an adapter that a deployment exported, as a candidate.

        Args:
            path: the file.
            name: to be called here; what its card says if None.
            trust_gate: keep its gate report as this deployment's own. Only for the file that ships with Rungs: anybody
                can write a report.

        Raises:
            AdapterError: the file is damaged or hostile, or made for another base model.
        """
        with explained(f"{path} cannot be taken in"), self._shelf.aside() as aside:
            card = parse_card(unpack(path, aside, tensor_bytes_max(self._base)), f"{path}: {CARD}")
            if not card.files or not card.revision:
                raise AdapterError(f"{path}: {CARD} pins no files by their hashes. Export the adapter again.")
            card = replace(card, name=check_name(card.name if name is None else name))
            if not trust_gate:
                card = replace(card, gate=None, gate_elsewhere=card.gate)
            return self._settle(aside, check_folder(aside, self._base), card)

    def export_file(self, name: str, revision: str, out: Path) -> Path:
        """Write a revision as one file, the same bytes each time; who promoted it and why stays here.

        Raises:
            AdapterError: it is not there or damaged, or `out` cannot be written.
        """
        loaded = self.load(name, check_revision(revision))
        with explained(f"{out} cannot be written"):
            return pack(loaded.folder, dump_card(portable(loaded.card)), out)

    def list(self, name: str | None = None) -> Listing:
        """All revisions, or those of one name. Hashes are not compared.

        Raises:
            AdapterError: the folder cannot be read, or the stages of a name are damaged.
        """
        cards: tuple[AdapterCard, ...] = ()
        problems: tuple[str, ...] = ()
        for one in self._shelf.names() if name is None else (check_name(name),):
            stages = self._shelf.stages(one)
            found = []
            for revision in self._shelf.revisions(one):
                try:
                    found.append(self._shelf.card(one, revision, stages))
                except AdapterError as error:
                    problems += (str(error),)
            cards += tuple(sorted(found, key=lambda card: datetime.fromisoformat(card.created_at)))
        return Listing(cards, problems)

    def show(self, name: str, revision: str) -> AdapterCard:
        """The card of a revision, with its stage and history.

        Raises:
            AdapterError: it is not there, or its card is damaged.
        """
        return self._shelf.card(check_name(name), check_revision(revision), self._shelf.stages(name))

    def live(self) -> dict[str, str]:
        """The live revision of every name that has one; cheap enough to ask before each request.

        Raises:
            AdapterError: the stages of a name are damaged.
        """
        found = {name: self._shelf.stages(name).live for name in self._shelf.names()}
        return {name: revision for name, revision in found.items() if revision is not None}

    def load(self, name: str, revision: str | None = None) -> LoadedAdapter:
        """A revision, read whole, checked, and compared with the hashes on its card.

        Args:
            name: of the adapter.
            revision: the live one if None.

        Raises:
            AdapterError: it is not there, was changed, or does not fit the base model.
        """
        wanted = self._shelf.stages(check_name(name)).live if revision is None else revision
        if wanted is None:
            raise AdapterError(f"no revision of {name} is live. Promote one: rungs adapters promote {name} REVISION")
        card = self.show(name, wanted)
        folder = self._shelf.place(name, wanted)
        with explained(f"{folder} cannot be read"):
            check_card(card, check_folder(folder, self._base), self._base)
        return LoadedAdapter(card, folder)

    def record_gate(self, name: str, revision: str, report: GateReport) -> AdapterCard:
        """Write on a card what this deployment's gate found.

        Raises:
            AdapterError: the revision is not there, or the report contradicts itself.
        """
        check_gate(report)
        with self._shelf.changing():
            card = replace(self.show(name, revision), gate=report)
            self._shelf.write_card(card)
            return card

    def promote(self, name: str, revision: str, by: str, reason: str | None = None) -> AdapterCard:
        """Make a revision live. The one that was live is retired; a roll-back brings it back.

        Args:
            name: of the adapter.
            revision: is read and checked once more.
            by: who decides.
            reason: needed where this deployment's gate did not accept it, and where it was retired before.

        Raises:
            AdapterError: a reason is needed, or the revision is not there or damaged.
        """
        decision = _decision(by, reason)
        with self._shelf.changing():
            card = self.load(name, check_revision(revision)).card
            why = None if card.stage == "live" or decision.reason else objection(card)
            if why:
                raise AdapterError(f"{name} {revision} {why}: give a reason to promote it all the same.")
            return self._decide(name, revision, transitions.promote(self._shelf.stages(name), revision, decision))

    def rollback(self, name: str, by: str, reason: str | None = None) -> AdapterCard:
        """Make the revision live that was live before; the one that is live now is retired.

        Raises:
            AdapterError: there is none, or it is damaged; then nothing changes.
        """
        decision = _decision(by, reason)
        with self._shelf.changing():
            there = self._shelf.revisions(check_name(name))
            stages = transitions.rollback(self._shelf.stages(name), there, decision)
            return self._decide(name, self.load(name, stages.live).card.revision, stages)

    def retire(self, name: str, revision: str, by: str, reason: str | None = None) -> AdapterCard:
        """Take a revision out of service: no roll-back leads to it. If it was live, nothing of that name is.

        Raises:
            AdapterError: it is not there.
        """
        decision = _decision(by, reason)
        with self._shelf.changing():
            self.show(name, revision)
            return self._decide(name, revision, transitions.retire(self._shelf.stages(name), revision, decision))

    def remove(self, name: str, revision: str) -> None:
        """Delete a revision. What was decided about it stays on record.

        Raises:
            AdapterError: it is live, or not there.
        """
        check_revision(revision)
        with self._shelf.changing():
            if self._shelf.stages(check_name(name)).live == revision:
                raise AdapterError(f"{name} {revision} is live. Promote another one, roll back or retire it first.")
            if revision not in self._shelf.revisions(name):
                raise AdapterError(f"there is no {name} {revision}. `rungs adapters list` shows what there is.")
            self._shelf.take_away(name, revision)

    @contextmanager
    def _copied(self, folder: Path) -> Iterator[Path]:
        """The two files that an adapter consists of, copied aside: what is checked is what is kept."""
        with explained(f"{folder} cannot be taken in"), self._shelf.aside() as aside:
            copy_adapter(folder, aside, self._base)
            yield aside

    def _settle(self, aside: Path, checked: CheckedAdapter, card: AdapterCard) -> AdapterCard:
        """Put a checked folder in its place, unless the same content is there already."""
        card = replace(card, revision=card.revision or checked.revision, files=card.files or checked.files)
        check_card(card, checked, self._base)
        with self._shelf.changing():
            if card.revision in self._shelf.revisions(card.name):
                there = self.load(card.name, card.revision).card
                if there.files != card.files:
                    raise AdapterError(f"{card.name} {card.revision} is there already, with other content.")
                return there
            self._shelf.put(aside, card)
            return self.show(card.name, card.revision)

    def _decide(self, name: str, revision: str, stages: Stages) -> AdapterCard:
        if stages != self._shelf.stages(name):
            self._shelf.write_stages(name, stages)
        return self._shelf.card(name, revision, stages)


def _decision(by: str, reason: str | None) -> Decision:
    """A reason of blanks is one that was not given."""
    return Decision(said(by, "by"), _now(), said(reason, "the reason") if reason and reason.strip() else None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
