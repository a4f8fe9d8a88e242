"""Examples, trainings and adapters as HTML: what people and models wrote is only words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from adapters.card import AdapterCard, DataSource, Lineage, TrainingSettings
from assistant.corrections import Correction
from tests.adapters.samples import ACCEPTED, REFUSED
from ui.present.adapting import card_html, correction_html, curve_html, job_html, minutes, preview_html, samples_html

HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.test/x.png) </script><script>alert(1)</script>"
CARD = AdapterCard(
    "house", "2026-11-23T10:00:00+00:00", "base", "0c1d3326cd97", Lineage(None, ()),
    TrainingSettings(16, 32.0, ("q_proj",), 3e-4, 1.0, 1), revision="0123456789ab",
)  # fmt: skip


def correction(draft: str, text: str) -> Correction:
    return Correction(
        "id", "trace", HOSTILE, draft, text, 0.5, "console", False, "waiting", "ann", "2026-11-23T10:00", None, None
    )


def only_words(html: str) -> bool:
    return not re.search(r"<(img|script|a)\b", html)


def test_a_correction_shows_what_went_and_what_came() -> None:
    html = correction_html(correction("Press the red button.", "Press the green button."))
    assert "<del>red</del> <ins>green</ins>" in html
    assert "will not be trained on" in html


@pytest.mark.parametrize(("draft", "text"), [(HOSTILE, "x"), ("x", HOSTILE), (HOSTILE, HOSTILE), ("", HOSTILE)])
def test_a_hostile_correction_is_only_words(draft: str, text: str) -> None:
    assert only_words(correction_html(correction(draft, text)))


def test_a_card_shows_its_gate_with_reasons_and_intervals() -> None:
    html = card_html(replace(CARD, gate=REFUSED), [])
    assert '<span class="verdict refuse">refused</span>' in html
    assert all(reason.split()[0] in html for reason in REFUSED.reasons)
    assert "accepted by another deployment" in card_html(replace(CARD, gate_elsewhere=ACCEPTED), [])
    assert "No gate has looked at it" in card_html(CARD, [])


def test_a_card_says_that_what_it_was_trained_on_was_erased_since() -> None:
    trained = replace(CARD, lineage=Lineage(None, (DataSource("corrections (console)", 3, "the owner's own"),)))
    assert "erased since it was made: 2." in card_html(trained, [], 2)
    assert "erased since" not in card_html(trained, []) + card_html(CARD, [], 2)


def test_hostile_samples_are_only_words() -> None:
    sample = {
        "check": "attacks", "change": "lost", "question": HOSTILE, "golds": [HOSTILE],
        "replies": {"base": HOSTILE, "candidate": HOSTILE},
    }  # fmt: skip
    html = samples_html([sample])
    assert only_words(html) and "worse than the base model" in html
    assert samples_html([]) == ""


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"stage": "waiting", "step": 0, "steps": None, "curve": []}, "waiting"),
        ({"stage": "general", "asking": (3, 10, "base model"), "curve": []}, "3 of 10"),
        ({"stage": "training", "step": 5, "steps": 10, "tokens_per_second": 201.0, "seconds_left": 95,
          "curve": [(1, 2.0), (5, 1.0)]}, "201 tokens/s"),
        ({"stage": "gate", "asking": (30, 60, "candidate: domain"), "curve": []}, "50%"),
        ({"stage": "failed", "reason": HOSTILE, "step": 5, "steps": 10, "curve": []}, "failed"),
        ({"stage": "done", "step": 10, "steps": 10, "curve": []}, "100%"),
    ],
)  # fmt: skip
def test_a_training_tells_how_far_it_is(state: dict[str, object], told: str) -> None:
    html = job_html("house-20261123-100000", state)
    assert told in html and only_words(html)


def test_a_curve_needs_two_points_and_stays_in_its_box() -> None:
    assert curve_html([]) == curve_html([(1, 2.0)]) == ""
    html = curve_html([(1, 2.0), (2, 0.0), (3, 1.0)])
    points = re.search(r'points="([^"]+)"', html)
    assert points
    for pair in points.group(1).split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 600 and 0 <= y <= 160
    assert curve_html([(1, 0.0), (2, 0.0)]), "a loss of nothing is no division by nothing"


def test_a_hostile_preview_is_only_words() -> None:
    look = {
        "counts": {"train": {"grounded": 2, "style": 0}}, "lengths": {"median": 1, "longest": 2}, "tokens": 3,
        "left_out": {"duplicate": 1}, "masked": {}, "seconds": 61.0, "warnings": [HOSTILE],
        "samples": [{"expect": "grounded", "question": HOSTILE, "answer": HOSTILE}],
    }  # fmt: skip
    html = preview_html(look)
    assert only_words(html) and "2 grounded" in html and "1 duplicate" in html


def test_times_are_told_as_people_read_them() -> None:
    assert [minutes(seconds) for seconds in (5, 61, 3700)] == ["about 1 min", "about 1 min", "about 1 h 2 min"]
