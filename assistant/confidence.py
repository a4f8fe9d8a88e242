"""Calibrated confidence: signals to a probability of being right, compared with a threshold that has a stated bound.

One L2 logistic regression per level, fitted by `evaluation/calibration.py` and stored as one small JSON file that
names the model, prompts and embedder it belongs to. Under any other one it is void and says so. Only reads and
computes; fits nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError
from assistant.types import Level

SHIPPED = Path(__file__).parent / "calibration"
"""Calibrations shipped with Rungs, one file per model."""


@dataclass(frozen=True, slots=True)
class LevelConfidence:
    """The confidence model of one level: standardise the signals, weigh, squash."""

    signals: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float | None
    """Accept at this confidence or above; None where nothing can be promised."""
    belongs_to: Mapping[str, str] = field(default_factory=dict)
    """What it was fitted under: embedder, and (for levels that generate) model, prompts, adapter."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What the fit saw: rows, coverage, wrong_rate, bound (one-sided 95 % Clopper-Pearson), auroc."""

    def confidence(self, signals: Mapping[str, float]) -> float:
        """Probability that a draft with these signals is right, 0 to 1. A missing signal counts as average."""
        total = self.bias
        for name, mean, scale, weight in zip(self.signals, self.mean, self.scale, self.weights, strict=True):
            total += weight * max(-5.0, min(5.0, (signals.get(name, mean) - mean) / scale))
        return sigmoid(total)

    def accepts(self, signals: Mapping[str, float]) -> bool:
        """True where a draft with these signals reaches the threshold."""
        return self.threshold is not None and self.confidence(signals) >= self.threshold


@dataclass(frozen=True, slots=True)
class NeedsNoDocument:
    """A linear probe on the question's embedding: greetings, small talk and language help against the rest."""

    embedder: str
    weights: tuple[float, ...]
    bias: float

    def logit(self, vector: Any) -> float:
        """Log-odds that a question, given as its unit vector of shape (dimension,), needs no document."""
        return float(sum(w * v for w, v in zip(self.weights, vector.tolist(), strict=True)) + self.bias)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything fitted for one model at hand."""

    levels: Mapping[Level, LevelConfidence] = field(default_factory=dict)
    needs_no_document: NeedsNoDocument | None = None
    max_wrong: float = 0.0
    """The bound on the share of wrong answers among accepted ones that the thresholds were chosen for."""
    rag_answers_by: str = "generating"
    """What `rungs evaluate` found better for this model: quoting or generating."""
    made_from: str = "nothing"

    @property
    def version(self) -> str:
        """A short id for the trace."""
        if not self.levels:
            return "none"
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:12]

    def of(self, level: Level, versions: Mapping[str, str]) -> LevelConfidence | None:
        """The confidence model of a level, or None where there is none for exactly these versions."""
        fitted = self.levels.get(level)
        if fitted is None or any(versions.get(key) != value for key, value in fitted.belongs_to.items()):
            return None
        return fitted

    def matches(self, versions: Mapping[str, str]) -> bool:
        """True where every level's model belongs to these versions."""
        return bool(self.levels) and all(self.of(level, versions) for level in self.levels)


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        AssistantError: the file is damaged; the message names it.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        levels = {name: _level_confidence(fields) for name, fields in raw["levels"].items()}
        probe = raw.get("needs_no_document")
        return Calibration(
            levels=levels,
            needs_no_document=NeedsNoDocument(probe["embedder"], tuple(probe["weights"]), probe["bias"])
            if probe
            else None,
            max_wrong=raw["max_wrong"],
            rag_answers_by=raw["rag_answers_by"],
            made_from=raw["made_from"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssistantError(
            f"calibration {path} cannot be read ({error}). Delete it, or fit it again with `rungs calibrate`."
        ) from error


def _level_confidence(fields: Mapping[str, Any]) -> LevelConfidence:
    """One level's part of the file; pydantic's checks are not worth its import here."""
    parts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return LevelConfidence(**parts)


def to_json(calibration: Calibration) -> str:
    """The file format: readable JSON, numbers rounded to six digits."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, Mapping):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(rounded(asdict(calibration)), indent=1, ensure_ascii=False) + "\n"


def find_calibration(home: Path, model_fingerprint: str) -> Calibration:
    """The owner's own calibration if there is one, else the shipped one for this model, else an empty one.

    A shipped file of another model still lends what does not depend on the model: the confidence in the evidence.
    """
    own = home / "calibration.json"
    if own.exists():
        return read_calibration(own)
    shipped = [read_calibration(path) for path in sorted(SHIPPED.glob("*.json"))]
    for calibration in shipped:
        if any(c.belongs_to.get("model") == model_fingerprint for c in calibration.levels.values()):
            return calibration
    if not shipped:
        return Calibration()
    borrowed = next((c for c in shipped if c.rag_answers_by == "quoting" and "rag" in c.levels), Calibration())
    evidence: dict[Level, LevelConfidence] = {
        level: replace(fitted, belongs_to={"embedder": fitted.belongs_to["embedder"]})
        for level, fitted in borrowed.levels.items()
        if level == "rag"
    }
    return Calibration(
        levels=evidence,
        needs_no_document=borrowed.needs_no_document,
        max_wrong=borrowed.max_wrong,
        made_from=f"evidence only, from: {borrowed.made_from}",
    )


def sigmoid(value: float) -> float:
    """1 / (1 + e^-value), safe for any size."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
