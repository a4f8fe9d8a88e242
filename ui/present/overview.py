"""A period in pictures and words. Formats and escapes; never counts. Called by the console's overview."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from assistant.fates import FATES, Fate
from assistant.overview import NOBODY, LevelFigures, Overview, Price
from ui.present import LEVEL_WORDS
from ui.present.tables import bar, columns, empty, folded, table, tiles

FATE_WORDS: Mapping[Fate, tuple[str, str]] = {
    "confirmed": ("Resolved, confirmed", "answered, thumbs up, no hand-off"),
    "assumed": ("Resolved, assumed", "answered, no thumb, no hand-off: nobody complained"),
    "disputed": ("Not helpful", "answered, and rated with a thumbs down"),
    "declined": ("Declined", "no level was sure enough, and it said so"),
    "handed_off": ("Handed off", "the asker wanted a person, then or right after the answer"),
    "asked_again": ("Asked again", "the asker edited or retried the question"),
    "interrupted": ("Interrupted", "stopped before the answer was complete"),
}
NOTHING = "No question has been asked yet in this period. Ask one on the chat page, or choose a longer period."
MEANING = (
    "Resolved: answered, no hand-off and no thumbs down. It is confirmed where the asker gave a thumbs up, and only "
    "assumed where they said nothing. A hand-off counts for the last question before it. Seconds are from question to "
    "whole answer; p50 is the middle, p95 what 19 of 20 stay below. Tokens are those of every level that was tried. "
    "Times are UTC."
)


def overview_html(one: Overview, price: Price) -> str:
    """Everything about a period."""
    if not one.questions:
        return empty(NOTHING)
    return (
        f'<div class="overview">{_at_a_glance(one, price)}'
        f'<section class="card"><h2>Questions over time</h2>{_over_time(one)}</section>'
        f'<section class="card"><h2>What became of them</h2>{_fates(one)}</section>'
        f'<section class="card"><h2>Which level answered</h2>{_levels(one, price)}</section>'
        f'<p class="sure">{MEANING}</p></div>'
    )


def _at_a_glance(one: Overview, price: Price) -> str:
    up, down = sum(level.thumbs_up for level in one.levels), sum(level.thumbs_down for level in one.levels)
    confirmed, declined, handed = (one.fates.get(name, 0) for name in ("confirmed", "declined", "handed_off"))
    tokens_in, tokens_out = one.tokens
    cost = price.of(tokens_in, tokens_out)
    spent = (f"{cost:,.2f}", f"{_short(tokens_in + tokens_out)} tokens")
    return tiles(
        {
            "Questions": (f"{one.questions:,}", "in this period"),
            "Resolved": (_share(one.resolved, one.questions), f"{one.resolved:,}, {confirmed:,} confirmed"),
            "Handed off": (_share(handed, one.questions), f"{handed:,} to a person"),
            "Declined": (_share(declined, one.questions), f"{declined:,} honestly"),
            "Feedback": (f"{up:,} / {down:,}", "thumbs up / down"),
            "Cost": spent
            if price != Price()
            else (_short(tokens_in + tokens_out), f"tokens, {_short(tokens_out)} written"),
        }
    )


def _over_time(one: Overview) -> str:
    names = [
        (f"{bucket.starts:%d %b %H:%M}" if one.length < timedelta(days=1) else f"{bucket.starts:%d %b %Y}")
        for bucket in one.buckets
    ]
    kinds: list[Mapping[str, int]] = [{fate: bucket.fates.get(fate, 0) for fate in FATES} for bucket in one.buckets]
    each = _length(one.length)
    counts = [sum(kind.values()) for kind in kinds]
    summary = f"{one.questions} questions, one column for each {each}, at most {max(counts, default=0)} in one"
    there = [fate for fate in FATES if one.fates.get(fate)]
    legend = "".join(f'<span class="key"><i class="{fate}"></i>{FATE_WORDS[fate][0]}</span>' for fate in there)
    rows = [[name, *(kind[fate] for fate in there)] for name, kind in zip(names, kinds, strict=True)]
    listed = table("Questions over time", ["From", *(FATE_WORDS[fate][0] for fate in there)], rows, range(1, 9))
    return (
        columns(list(zip(names, kinds, strict=True)), summary)
        + f'<div class="keys">{legend}</div>'
        + folded(f"As a table, one row for each {each}", listed)
    )


def _fates(one: Overview) -> str:
    bars = []
    for fate in FATES:
        name, meaning = FATE_WORDS[fate]
        count = one.fates.get(fate, 0)
        bars.append(bar(name, fate, count / one.questions, f"{count:,} ({count / one.questions:.0%})", meaning))
    return f'<div class="bars wide">{"".join(bars)}</div>'


def _levels(one: Overview, price: Price) -> str:
    shown = [level for level in one.levels if level.questions or level.level != NOBODY]
    bars = [
        bar(
            _name(level),
            level.level,
            level.questions / one.questions,
            f"{level.questions:,} ({_share(level.questions, one.questions)})",
        )
        for level in shown
    ]
    headers = ["Level", "Questions", "p50 s", "p95 s", "Tokens each", "Up", "Down"]
    rows = [[_name(level), *_figures(level)] for level in shown]
    if price != Price():
        headers.append("Cost")
        rows = [
            [*row, f"{price.of(level.tokens_in, level.tokens_out):,.4f}"]
            for row, level in zip(rows, shown, strict=True)
        ]
    return f'<div class="bars">{"".join(bars)}</div>' + table(
        "Levels in figures", headers, rows, range(1, len(headers))
    )


def _figures(level: LevelFigures) -> list[str]:
    each = (level.tokens_in + level.tokens_out) / level.questions if level.questions else None
    return [
        f"{level.questions:,}",
        *("-" if value is None else f"{value:.2f}" for value in (level.seconds_p50, level.seconds_p95)),
        "-" if each is None else f"{each:,.0f}",
        f"{level.thumbs_up:,}",
        f"{level.thumbs_down:,}",
    ]


def _name(level: LevelFigures) -> str:
    return {**LEVEL_WORDS, NOBODY: "No level"}[level.level]


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%}" if total else "-"


def _short(count: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if count >= 10 * unit:
            return f"{count / unit:,.0f}{name}"
    return f"{count:,}"


def _length(length: timedelta) -> str:
    hours = round(length.total_seconds() / 3600)
    if hours % 24:
        return "hour" if hours == 1 else f"{hours} hours"
    return {1: "day", 7: "week"}.get(hours // 24, f"{hours // 24} days")
