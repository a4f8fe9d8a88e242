"""Calibration: fit the confidence of each level on a golden set, and choose thresholds with a stated bound.

Per level an L2 logistic regression over the signals, cross-fitted: the probability that a row is judged by comes from
a fit that has not seen it. The threshold is the lowest at which the one-sided 95 % Clopper-Pearson bound on the share
of wrong answers among accepted ones stays within `max_wrong`; where no threshold does, none is promised. Called by
`rungs calibrate` and, for the shipped file, by `bench/`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assistant.confidence import Calibration, LevelConfidence, to_json
from assistant.errors import BadGoldenSet
from assistant.evaluation.evaluate import EvaluationReport, Result, evaluate
from assistant.evaluation.golden import GoldenRow
from assistant.types import LEVEL_NAMES, Level
from knowledge.types import Progress

if TYPE_CHECKING:
    from assistant.build import Rungs

FOLDS = 5
STRENGTH = 1.0
"""Inverse L2 strength of the logistic regression (scikit-learn's C) on standardised signals."""
ROWS_LEAST = 30
EACH_KIND_LEAST = 2
"""Right drafts, and wrong ones, that a level must have to be fitted; else its present confidence is kept."""
ROWS_FULL_FIT = 200
"""Below this many rows the present confidence is only rescaled (Platt); from here on its weights are fitted anew."""
BOUND_CONFIDENCE = 0.95
COVERAGE_FIRST = 0.1
COVERAGE_STEP = 0.025
QUESTION_SIGNALS = (
    "passage_top passage_best passage_gap sentence_top sentence_best sentence_gap score_top keywords_top found_by_both "
    "covered covered_by_passage named_covered named kind_matches one_document question_words follow_up no_document"
).split()
WRITING_SIGNALS = (
    "logprob_mean logprob_min logprob_first logprob_low_tenth logprob_low_quarter margin_mean draft_tokens"
)
SUPPORT_SIGNALS = "supported_words supported_runs unsupported_named"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A new calibration and what it promises."""

    calibration: Calibration
    rows_missing: Mapping[Level, int]
    """Rows that a level still needs: to be fitted (then its present confidence is kept), or to promise anything."""

    def as_json(self) -> dict[str, Any]:
        """The document of `rungs calibrate --json`: every level that was tried."""
        levels = {}
        for level, missing in self.rows_missing.items():
            fitted = self.calibration.levels.get(level)
            facts = fitted.facts if fitted else {}
            levels[level] = {
                "threshold": fitted.threshold if fitted else None,
                "coverage": facts.get("coverage", 0.0),
                "wrong_rate": facts.get("wrong_rate", 0.0),
                "bound": facts.get("bound", 1.0),
                "rows_missing": missing,
            }
        return {"levels": levels}


def calibrate(rungs: Rungs, rows: Sequence[GoldenRow], max_wrong: float) -> Iterator[Progress | CalibrationReport]:
    """Ask every row at every level that can be tried, fit, choose thresholds, and keep the result in RUNGS_HOME.

    Raises:
        BadGoldenSet: too few graded rows.
    """
    graded = [row for row in rows if row.expect != "ungraded"]
    if len(graded) < ROWS_LEAST:
        raise BadGoldenSet(f"calibrating needs at least {ROWS_LEAST} graded rows; this golden set has {len(graded)}.")
    levels = [level for level in LEVEL_NAMES if level != "lora" or rungs.model.adapters]
    report = EvaluationReport(())
    for step in evaluate(rungs, graded, levels):
        if isinstance(step, EvaluationReport):
            report = step
        else:
            yield step
    made_from = f"{len(graded)} rows of the owner's golden set"
    bounds = dict.fromkeys(LEVEL_NAMES, max_wrong)
    fitted = fit(report.results, rungs.calibration, dict(rungs.assistant.versions()), bounds, made_from)
    folder = rungs.settings.home
    draft = folder / "calibration.json.part"
    draft.write_text(to_json(fitted.calibration), encoding="utf-8")
    draft.replace(folder / "calibration.json")
    yield fitted


def fit(
    results: Sequence[Result],
    before: Calibration,
    versions: Mapping[str, str],
    max_wrong: Mapping[Level, float],
    made_from: str,
) -> CalibrationReport:
    """Fit every level on results of forced levels; a later one on the rows that earlier ones let through.

    A level with too few rows, or with hardly a right or a wrong draft among them, keeps the confidence that it has.
    """
    passed = {result.row.id for result in results}
    levels: dict[Level, LevelConfidence] = {}
    missing: dict[Level, int] = {}
    for level in LEVEL_NAMES:
        tried = [r for r in results if r.level == level and r.row.id in passed and _attempt_signals(r, level)]
        if not tried:
            continue
        signals = [_attempt_signals(r, level) for r in tried]
        right = np.array([r.grade.correct and r.answered for r in tried], dtype=bool)
        at_hand = before.of(level, versions)
        if len(tried) < ROWS_LEAST or min(right.sum(), (~right).sum()) < EACH_KIND_LEAST:
            missing[level] = max(ROWS_LEAST - len(tried), EACH_KIND_LEAST - int(min(right.sum(), (~right).sum())))
            if at_hand is not None:
                levels[level] = at_hand
                passed -= {r.row.id for r, s in zip(tried, signals, strict=True) if at_hand.accepts(s)}
            continue
        names = signals_of(level, versions)
        shape, confidence = _fit_level(signals, right, names, at_hand)
        chosen = choose_threshold(confidence, right, max_wrong[level])
        facts = {
            "rows": float(len(tried)),
            "right": float(right.sum()),
            "auroc": auroc(confidence, right),
            **chosen.facts,
        }
        levels[level] = replace(shape, threshold=chosen.threshold, belongs_to=_belongs_to(level, versions), facts=facts)
        missing[level] = 0 if chosen.threshold is not None else _rows_missing(confidence, right, max_wrong[level])
        if chosen.threshold is not None:
            passed -= {r.row.id for r, c in zip(tried, confidence, strict=True) if c >= chosen.threshold}
    calibration = Calibration(
        levels, before.needs_no_document, max(max_wrong.values()), versions["rag_answers_by"], made_from
    )
    return CalibrationReport(calibration, missing)


def signals_of(level: Level, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Which signals the confidence of a level weighs: quoting has no token probabilities."""
    names = list(QUESTION_SIGNALS)
    if level == "prompting" or level == "lora" or versions["rag_answers_by"] == "generating":
        names += WRITING_SIGNALS.split()
    if level == "lora" or (level == "rag" and versions["rag_answers_by"] == "generating"):
        names += SUPPORT_SIGNALS.split()
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold and what was seen at it."""

    threshold: float | None
    facts: Mapping[str, float]


def choose_threshold(confidence: Floats, right: NDArray[np.bool_], max_wrong: float) -> Chosen:
    """The lowest threshold whose bound on the wrong share holds.

    Fixed-sequence testing: shares of rows from `COVERAGE_FIRST` up in steps of `COVERAGE_STEP`, the surest rows first;
    it stops at the first share whose bound fails, so that the bound of the last one that held needs no correction for
    having searched. A first share that fails promises nothing.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    best: tuple[int, float] | None = None
    first = max(COVERAGE_FIRST * len(order), 2 * rows_needed(max_wrong))
    for share in np.arange(min(1.0, first / len(order)), 1 + 1e-9, COVERAGE_STEP):
        accepted = max(1, int(share * len(order)))
        bound = clopper_pearson(int(wrong[accepted - 1]), accepted)
        if bound > max_wrong:
            break
        best = accepted, bound
    if best is None:
        return Chosen(None, {"coverage": 0.0, "wrong_rate": 0.0, "bound": 1.0})
    accepted, bound = best
    threshold = math.floor(float(confidence[order[accepted - 1]]) * 1e6) / 1e6
    facts = {"coverage": accepted / len(order), "wrong_rate": float(wrong[accepted - 1] / accepted), "bound": bound}
    return Chosen(threshold, facts)


def clopper_pearson(wrong: int, accepted: int) -> float:
    """One-sided 95 % upper bound on a share, from `wrong` of `accepted` (Clopper and Pearson, 1934)."""
    from scipy.stats import beta

    return 1.0 if wrong >= accepted else float(beta.ppf(BOUND_CONFIDENCE, wrong + 1, accepted - wrong))


def rows_needed(max_wrong: float) -> int:
    """How many accepted answers without a single wrong one it takes to promise `max_wrong`."""
    return math.ceil(math.log(1 - BOUND_CONFIDENCE) / math.log(1 - max_wrong))


def _rows_missing(confidence: Floats, right: NDArray[np.bool_], max_wrong: float) -> int:
    """How many more right answers it takes, counting those that are surer than every wrong one; at least 1."""
    surest_wrong = confidence[~right].max(initial=-1.0)
    return max(1, rows_needed(max_wrong) - int((confidence > surest_wrong).sum()))


def auroc(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Chance that a right draft is ranked above a wrong one; 0.5 where there is only one kind."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(right, confidence)) if 0 < right.sum() < len(right) else 0.5


def _fit_level(
    signals: Sequence[Mapping[str, float]],
    right: NDArray[np.bool_],
    names: Sequence[str],
    before: LevelConfidence | None,
) -> tuple[LevelConfidence, Floats]:
    """The final fit on all rows, and every row's confidence out of a fit that has not seen it."""
    if before is not None and len(signals) < ROWS_FULL_FIT:
        return _rescale(signals, right, before)
    table = np.array([[row.get(name, 0.0) for name in names] for row in signals])
    held_out = np.zeros(len(right))
    for train, test in _folds(right):
        held_out[test] = _probabilities(logistic(table[train], right[train], names), [signals[i] for i in test])
    return logistic(table, right, names), held_out


def logistic(table: Floats, right: NDArray[np.bool_], names: Sequence[str]) -> LevelConfidence:
    """A confidence without a threshold: signals `names`, of shape (rows, signals), weighed to tell what was right."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = table.mean(axis=0), table.std(axis=0)
    scale[scale < 1e-6] = 1.0
    standard = np.clip((table - mean) / scale, -5, 5)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(standard, right)
    return LevelConfidence(
        signals=tuple(names),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(model.coef_[0].tolist()),
        bias=float(model.intercept_[0]),
        threshold=None,
    )


def _rescale(
    signals: Sequence[Mapping[str, float]], right: NDArray[np.bool_], before: LevelConfidence
) -> tuple[LevelConfidence, Floats]:
    """Platt scaling (1999) of the confidence at hand: slope and intercept of its log-odds on the owner's rows."""
    from sklearn.linear_model import LogisticRegression

    odds = np.array([[_log_odds(before.confidence(row))] for row in signals])
    held_out = np.zeros(len(right))
    for train, test in _folds(right):
        held_out[test] = LogisticRegression(C=1.0).fit(odds[train], right[train]).predict_proba(odds[test])[:, 1]
    scaled = LogisticRegression(C=1.0).fit(odds, right)
    slope, shift = float(scaled.coef_[0][0]), float(scaled.intercept_[0])
    return replace(before, weights=tuple(w * slope for w in before.weights), bias=before.bias * slope + shift), held_out


def _folds(right: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int_], NDArray[np.int_]]]:
    from sklearn.model_selection import StratifiedKFold

    count = max(2, min(FOLDS, int(right.sum()), int((~right).sum())))
    yield from StratifiedKFold(count, shuffle=True, random_state=0).split(np.zeros(len(right)), right)


def _probabilities(fitted: LevelConfidence, signals: Sequence[Mapping[str, float]]) -> Floats:
    return np.array([fitted.confidence(row) for row in signals])


def _attempt_signals(result: Result, level: Level) -> Mapping[str, float]:
    return next((a.signals for a in result.attempts if a.level == level and a.draft is not None), {})


def _belongs_to(level: Level, versions: Mapping[str, str]) -> dict[str, str]:
    keys = ["embedder"]
    if level == "rag":
        keys += ["rag_answers_by"]
    if level != "rag" or versions["rag_answers_by"] == "generating":
        keys += ["model", "prompts"]
    return {key: versions[key] for key in [*keys, *(["adapter"] if level == "lora" else [])]}


def _log_odds(confidence: float) -> float:
    confidence = min(max(confidence, 1e-6), 1 - 1e-6)
    return math.log(confidence / (1 - confidence))
