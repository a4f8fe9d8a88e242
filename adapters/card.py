"""The adapter card: what an adapter is, what it was made of, what it proved, and who put it to work.

Frozen types, and JSON in and out. Unknown fields are refused where something depends on them (hashes, gate, stages) and
kept where a newer version may tell more (lineage, settings). A card's file never says its stage: the registry keeps
that in one place per name, so that a revision cannot be live twice. Reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

from adapters.errors import AdapterError
from adapters.peft_config import RANK_MAX
from adapters.strict_json import dump, parse, read_as

CARD_BYTES_MAX = 512 * 1024
DEPTH = 12
REASON_SHOWN = 200
STRICT = {"extra": "forbid"}
"""What `read_as` is told about each of these types: a field that it does not have is an error."""
HASH = re.compile(r"[0-9a-f]{12,64}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Stage = Literal["candidate", "live", "retired"]
Verdict = Literal["accept", "refuse", "too_little_evidence"]


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One comparison of the candidate with what it must beat, or must not fall behind."""

    __pydantic_config__ = STRICT
    name: str
    n: int
    """Rows compared."""
    base: float | None
    """Share or score of the side compared with; None where there is none."""
    candidate: float | None
    difference: float | None
    low: float | None
    """Lower end of the difference's interval."""
    high: float | None
    passed: bool | None
    """None where the figure is told, but decides nothing."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether a candidate may go live, and why."""

    __pydantic_config__ = STRICT
    verdict: Verdict
    reasons: tuple[str, ...]
    """Sentences for a person."""
    checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where some of the training rows came from."""

    __pydantic_config__ = STRICT
    name: str
    rows: int
    licence: str
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lineage:
    """What an adapter was trained on."""

    __pydantic_config__ = STRICT
    data_hash: str | None
    """SHA-256 of the training file; None where it is not known."""
    sources: tuple[DataSource, ...]
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How an adapter was trained; None where that is not known."""

    __pydantic_config__ = STRICT
    rank: int
    alpha: float
    targets: tuple[str, ...]
    """Modules as `adapter_config.json` names them."""
    learning_rate: float | None
    epochs: float | None
    seed: int | None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageChange:
    """A revision entered a stage."""

    __pydantic_config__ = STRICT
    revision: str
    stage: Stage
    at: str
    """ISO 8601 with its zone."""
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """Everything that is known about one revision of an adapter."""

    __pydantic_config__ = STRICT
    name: str
    created_at: str
    """ISO 8601 with its zone."""
    base_name: str
    base_hash: str
    """Of the weights that it was trained on; 12 hexadecimal digits or more."""
    lineage: Lineage
    settings: TrainingSettings
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that trained it."""
    loss_first: float | None = None
    loss_last: float | None = None
    revision: str = ""
    """Named by the registry after the files' content; empty until then."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by file name; filled in by the registry."""
    gate: GateReport | None = None
    """What the gate of this deployment found."""
    gate_elsewhere: GateReport | None = None
    """What an imported card says that another gate found. It decides nothing."""
    stage: Stage = "candidate"
    promoted_by: str | None = None
    reason: str | None = None
    """Why it is in its stage, in a person's words."""
    history: tuple[StageChange, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether this deployment's own gate accepted it."""
        return self.gate is not None and self.gate.verdict == "accept"


KEPT_ELSEWHERE = ("stage", "promoted_by", "reason", "history")
"""Fields of a card that its file does not carry."""


def card_json(card: AdapterCard) -> dict[str, Any]:
    """The whole card, its stage included, as plain lists and dictionaries."""
    raw = asdict(card)
    raw["lineage"]["sources"] = [_unfolded(source) for source in raw["lineage"]["sources"]]
    raw["lineage"], raw["settings"] = _unfolded(raw["lineage"]), _unfolded(raw["settings"])
    return _unfolded(raw)


def dump_card(card: AdapterCard) -> bytes:
    """The content of a card's file: the same bytes for the same card, whatever its stage.

    Raises:
        AdapterError: the card holds what its file could not be read back with.
    """
    raw = card_json(card)
    content = dump({key: value for key, value in raw.items() if key not in KEPT_ELSEWHERE}, "the card")
    parse_card(content, "the card")
    return content


def objection(card: AdapterCard) -> str | None:
    """Why whoever promotes this revision must give a reason; None where nothing speaks against it."""
    if card.stage == "retired":
        return "was retired before"
    if card.gate is None:
        return "was not gated here"
    return None if card.accepted else f"was not accepted by the gate ({card.gate.reasons[0][:REASON_SHOWN]})"


def portable(card: AdapterCard) -> AdapterCard:
    """The card as it leaves this deployment: what the gate found goes along, as a claim."""
    return replace(card, gate=card.gate or card.gate_elsewhere, gate_elsewhere=None)


def parse_card(raw: bytes, where: str) -> AdapterCard:
    """The card that a file holds; its stage is for the registry to say.

    Raises:
        AdapterError: names what is missing, unknown or cannot be true.
    """
    if len(raw) > CARD_BYTES_MAX:
        raise AdapterError(f"{where} has more than {CARD_BYTES_MAX} bytes; that is no card.")
    value = parse(raw, where, DEPTH)
    said = [key for key in KEPT_ELSEWHERE if key in value]
    if said:
        raise AdapterError(f"{where} says {', '.join(said)}, which the registry alone decides. Remove it.")
    card = read_as(AdapterCard, _folded_card(value), where)
    fault = _fault(card)
    if fault:
        raise AdapterError(f"{where}: {fault}.")
    return card


def check_gate(report: GateReport) -> None:
    """Refuse a report that contradicts itself.

    Raises:
        AdapterError: it accepts without evidence, against it, or gives no reason.
    """
    fault = _gate_fault(report)
    if fault:
        raise AdapterError(f"the gate report: {fault}.")


def _folded_card(value: dict[str, Any]) -> dict[str, Any]:
    """Fields that a type does not know, moved to its `extra`, where that type keeps them."""
    card: dict[str, Any] = _folded(AdapterCard, value)
    lineage = card.get("lineage")
    if isinstance(lineage, dict) and isinstance(lineage.get("sources"), list):
        lineage["sources"] = [_folded(DataSource, source) for source in lineage["sources"]]
    for key, kind in (("lineage", Lineage), ("settings", TrainingSettings)):
        if key in card:
            card[key] = _folded(kind, card[key])
    return card


def _folded(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        return value  # left for `read_as` to name
    known = {one.name for one in fields(kind)} - {"extra"}
    told = {key: item for key, item in value.items() if key in known}
    return {**told, "extra": {key: item for key, item in value.items() if key not in known}}


def _unfolded(value: dict[str, Any]) -> dict[str, Any]:
    return {**value["extra"], **{key: item for key, item in value.items() if key != "extra"}}


def _fault(card: AdapterCard) -> str | None:
    """What cannot be true of a card, in words."""
    settings = card.settings
    wrong = {
        "created_at is no time with a zone": not _is_time(card.created_at),
        "base_hash is no hash": HASH.fullmatch(card.base_hash) is None,
        "data_hash is no hash": card.lineage.data_hash is not None and SHA256.fullmatch(card.lineage.data_hash) is None,
        "files are not pinned by SHA-256": not all(SHA256.fullmatch(digest) for digest in card.files.values()),
        "a source has fewer than no rows": any(source.rows < 0 for source in card.lineage.sources),
        f"rank must be 1 to {RANK_MAX}, and alpha positive": not 1 <= settings.rank <= RANK_MAX or settings.alpha <= 0,
        "it names no base model": not card.base_name.strip(),
    }
    found = [fault for fault, holds in wrong.items() if holds]
    for report in (card.gate, card.gate_elsewhere):
        found += [fault for fault in [_gate_fault(report)] if fault] if report else []
    return found[0] if found else None


def _gate_fault(report: GateReport) -> str | None:
    if not report.reasons or not all(reason.strip() for reason in report.reasons):
        return "the gate gives no reason"
    if any(check.n < 0 for check in report.checks):
        return "a check of fewer than no rows"
    if report.verdict == "accept" and any(check.passed is False for check in report.checks):
        return "the gate accepts although a check failed"
    if report.verdict == "accept" and not any(check.passed for check in report.checks):
        return "the gate accepts although nothing was checked"
    return None


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
