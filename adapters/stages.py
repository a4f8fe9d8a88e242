"""Which revision of a name is live, which were before, and who changed that: values and transitions, no files.

Every transition takes the state and returns the next; what a person may not do raises. The registry keeps the state of
a name in one file that is replaced in one step, so that at any moment at most one revision is live.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import asdict, dataclass, replace

from adapters.card import STRICT, Stage, StageChange
from adapters.errors import AdapterError
from adapters.strict_json import dump, parse, read_as

STAGES_BYTES_MAX = 4 * 1024 * 1024
DEPTH = 4
BEFORE_MAX = 100
"""How many roll-backs in a row are possible."""
CHANGES_MAX = 2000
"""Older changes are forgotten, except the last one of each revision."""
TEXT_MAX = 1000


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of all revisions of one name."""

    __pydantic_config__ = STRICT
    live: str | None = None
    before: tuple[str, ...] = ()
    """Revisions that were live, oldest first; a roll-back takes the last."""
    changes: tuple[StageChange, ...] = ()
    """Oldest first."""

    def of(self, revision: str) -> Stage:
        """The stage of a revision; one that nobody touched is a candidate."""
        history = self.history(revision)
        return history[-1].stage if history else "candidate"

    def history(self, revision: str) -> tuple[StageChange, ...]:
        """The changes of one revision, oldest first."""
        return tuple(change for change in self.changes if change.revision == revision)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided, when, and why."""

    by: str
    at: str
    """ISO 8601 with its zone."""
    reason: str | None = None

    def to(self, revision: str, stage: Stage, reason: str | None = None) -> StageChange:
        """This decision as it concerns one revision."""
        return StageChange(revision, stage, self.at, self.by, reason or self.reason)


def promote(stages: Stages, revision: str, decision: Decision) -> Stages:
    """`revision` live instead of whatever was; nothing changes if it is live already."""
    if stages.live == revision:
        return stages
    changes = [decision.to(revision, "live")]
    before = stages.before
    if stages.live is not None:
        changes.insert(0, decision.to(stages.live, "retired", f"{revision} took its place"))
        before = (*before, stages.live)[-BEFORE_MAX:]
    return _changed(replace(stages, live=revision, before=before), *changes)


def rollback(stages: Stages, there: Container[str], decision: Decision) -> Stages:
    """The revision that was live before, live again.

    Args:
        stages: the state now.
        there: revisions that still exist; others are passed over.
        decision: who wants it.

    Raises:
        AdapterError: none was live before, or none of those is left.
    """
    left = [revision for revision in stages.before if revision in there]
    if not left:
        raise AdapterError("no revision that is still there was live before. Promote one, or retire the live one.")
    changes = [decision.to(left[-1], "live", decision.reason or "rolled back to it")]
    if stages.live is not None:
        changes.insert(0, decision.to(stages.live, "retired", decision.reason or f"rolled back to {left[-1]}"))
    return _changed(replace(stages, live=left[-1], before=tuple(left[:-1])), *changes)


def retire(stages: Stages, revision: str, decision: Decision) -> Stages:
    """`revision` out of service; no roll-back leads to it any more. If it was live, nothing is."""
    live = None if stages.live == revision else stages.live
    before = tuple(one for one in stages.before if one != revision)
    return _changed(replace(stages, live=live, before=before), decision.to(revision, "retired"))


def said(text: str, what: str) -> str:
    """A person's words on one line.

    Raises:
        AdapterError: there are none, or too many.
    """
    words = " ".join(text.split())
    if not 1 <= len(words) <= TEXT_MAX:
        raise AdapterError(f"{what} has {len(words)} characters; say it in 1 to {TEXT_MAX}.")
    return words


def dump_stages(stages: Stages) -> bytes:
    """The content of the file that keeps `stages`."""
    return dump(asdict(stages), "the stages")


def parse_stages(raw: bytes, where: str) -> Stages:
    """The stages that a file keeps.

    Raises:
        AdapterError: the file is damaged.
    """
    stages = read_as(Stages, parse(raw, where, DEPTH), where)
    if stages.live is not None and stages.of(stages.live) != "live":
        raise AdapterError(f"{where} contradicts itself: {stages.live} is live, and is {stages.of(stages.live)}.")
    return stages


def _changed(stages: Stages, *changes: StageChange) -> Stages:
    kept = (*stages.changes, *changes)
    if len(kept) > CHANGES_MAX:
        last = {change.revision: place for place, change in enumerate(kept)}
        first = len(kept) - CHANGES_MAX
        kept = tuple(one for place, one in enumerate(kept) if place >= first or last[one.revision] == place)
    return replace(stages, changes=kept)
