"""What was asked in a period, in figures: over time, by fate and by level. Counts; formats nothing.

Percentiles are by nearest rank. Called by the console.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from assistant.fates import Asked, Fate
from assistant.types import LEVEL_NAMES

NOBODY = "none"
"""Stands for the level of a question that no level answered."""
BUCKETS = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 168, 720))
COLUMNS_MAX = 48
"""Columns of a picture over time; the smallest of BUCKETS that needs no more is taken."""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost; nothing where the model runs at home."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / MILLION


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """The questions that one level answered, or none."""

    level: str
    questions: int
    seconds_p50: float | None
    seconds_p95: float | None
    tokens_in: int
    tokens_out: int
    """Tokens of every level that was tried on the way."""
    thumbs_up: int
    thumbs_down: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time and how its questions ended."""

    starts: datetime
    fates: Mapping[Fate, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """A period in figures."""

    questions: int
    fates: Mapping[Fate, int]
    levels: tuple[LevelFigures, ...]
    buckets: tuple[Bucket, ...]
    """Without a gap, oldest first."""
    length: timedelta
    """Of a bucket."""

    @property
    def resolved(self) -> int:
        """Answered, no hand-off and no thumbs down."""
        return self.fates.get("confirmed", 0) + self.fates.get("assumed", 0)

    @property
    def tokens(self) -> tuple[int, int]:
        """Read and written."""
        return sum(level.tokens_in for level in self.levels), sum(level.tokens_out for level in self.levels)


def overview(rows: Sequence[Asked], now: datetime, span: timedelta | None) -> Overview:
    """Figures of the questions of a period.

    Args:
        rows: from `fates.asked`.
        now: where the period ends.
        span: how long it is; None is from the first question on.
    """
    length, buckets = _over_time(rows, now, span)
    names = (*LEVEL_NAMES, NOBODY)
    levels = tuple(_level(name, [row for row in rows if (row.level or NOBODY) == name]) for name in names)
    return Overview(len(rows), Counter(row.fate for row in rows), levels, buckets, length)


def percentile(values: Iterable[float], share: float) -> float | None:
    """By nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _level(name: str, rows: Sequence[Asked]) -> LevelFigures:
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return LevelFigures(
        level=name,
        questions=len(rows),
        seconds_p50=percentile(seconds, 0.5),
        seconds_p95=percentile(seconds, 0.95),
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
        thumbs_up=sum(row.thumb > 0 for row in rows),
        thumbs_down=sum(row.thumb < 0 for row in rows),
    )


def _over_time(rows: Sequence[Asked], now: datetime, span: timedelta | None) -> tuple[timedelta, tuple[Bucket, ...]]:
    asked_at = [datetime.fromisoformat(row.started_at) for row in rows]
    first = now - span if span else min(asked_at, default=now)
    length = next((one for one in BUCKETS if (now - first) / one <= COLUMNS_MAX - 1), BUCKETS[-1])
    least = (now - first) // COLUMNS_MAX
    length = max(length, least + timedelta(hours=1)) if least > length else length
    zero = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday, so that weeks begin on one
    begins, ends = (first - zero) // length, (now - zero) // length
    counted: dict[int, Counter[Fate]] = {number: Counter() for number in range(begins, ends + 1)}
    for row, at in zip(rows, asked_at, strict=True):
        number = min(max((at - zero) // length, begins), ends)  # a clock that was set back loses no question
        counted[number][row.fate] += 1
    return length, tuple(Bucket(zero + number * length, fates) for number, fates in counted.items())
