"""The console's words and pictures: hostile text stays text in each, secrets are hidden, one sentence says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from assistant.fates import Asked
from assistant.gaps import Gap
from assistant.overview import Price, overview
from assistant.settings import Settings, origins_of
from assistant.types import Answer, Attempt, Evidence, Outcome, Question, Route, Trace
from knowledge.types import Hit, Passage, SourceSummary
from ui.access.people import Account, Key
from ui.background import Job
from ui.present.gaps import gap_html, gaps_html
from ui.present.knowledge import job_html, passages_html, ranked_html, sources_html
from ui.present.overview import overview_html
from ui.present.people import accounts_html, keys_html, secret_html
from ui.present.settings import health_html, settings_html
from ui.present.trace import story_html, why

HOSTILE = '<img src=x onerror="alert(1)"> ![x](https://evil.test/x.png) </script> \'"><u>'
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASKED = Asked("i", "c", HOSTILE, HOSTILE, "rag", "declined", -1, 1, False, NOW.isoformat(), 1.0, 10, 5)
PASSAGE = Passage(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0)
SURE = Attempt("rag", True, confidence=0.9, threshold=0.7)
HIT = Hit(PASSAGE, 0.1, 0.5, 0, None)


def trace(outcome: Outcome, *attempts: Attempt) -> Trace:
    level = next((attempt.level for attempt in attempts if attempt.accepted), None)
    answer = Answer(HOSTILE, outcome, level)
    question = Question(HOSTILE, HOSTILE, surface=HOSTILE)
    return Trace("t", question, Evidence((HOSTILE,), (HIT,)), Route(()), attempts, answer, {}, 1.0, NOW.isoformat())


def job(**changed: object) -> Job:
    return Job("ingest", HOSTILE, HOSTILE, NOW.isoformat(), **changed)  # type: ignore[arg-type]


COUNTS = {"added": 1, "updated": 0, "unchanged": 0, "removed": 0, "seconds": 1.0}
FAILED = {**COUNTS, "failed": [{"source": HOSTILE, "reason": HOSTILE}]}
PAGES = {
    "gaps": lambda home: gaps_html([Gap((ASKED,), True)]) + gap_html(Gap((ASKED,), False), [HIT]),
    "sources": lambda home: sources_html(home, [SourceSummary(HOSTILE, 1, 1, HOSTILE)], HOSTILE),
    "passages": lambda home: passages_html([PASSAGE]),
    "ranked": lambda home: ranked_html(HOSTILE, [HIT], (), ()),
    "running": lambda home: job_html(job(label=HOSTILE, done=1, total=2)),
    "failed": lambda home: job_html(job(running=False, error=HOSTILE)),
    "done": lambda home: job_html(job(running=False, result=FAILED)),
    "stopped": lambda home: job_html(job(running=False)),
    "accounts": lambda home: accounts_html([Account(HOSTILE, "owner", HOSTILE)]),
    "keys": lambda home: keys_html([Key(HOSTILE, HOSTILE, ("ask",), HOSTILE, HOSTILE)]),
    "secret": lambda home: secret_html(HOSTILE, HOSTILE, HOSTILE),
    "story": lambda home: story_html(trace("abstained", Attempt("rag", skipped_because=HOSTILE)), (), ()),
    "health": lambda home: health_html(
        job(running=False, result={"checks": [{"name": HOSTILE, "ok": False, "detail": HOSTILE, "fix": HOSTILE}]})
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_hostile_text_is_only_words(page: str, tmp_path: object) -> None:
    html = PAGES[page](tmp_path)
    assert html.count("&lt;img") >= 1
    for bad in ("<img", "<u>", "</script>", "](https", 'onerror="'):
        assert bad not in html, bad


def test_an_overview_says_every_figure_and_its_price_only_where_there_is_one() -> None:
    found = overview([ASKED], NOW, timedelta(days=1))
    free, dear = overview_html(found, Price()), overview_html(found, Price(1000, 1000))
    assert "0.0150" in dear and "0.0150" not in free
    assert "only assumed where they said nothing" in free
    assert "No question has been asked yet" in overview_html(overview([], NOW, None), Price())


@pytest.mark.parametrize(
    ("outcome", "attempts", "sentence"),
    [
        ("answered", (SURE,), "From the documents: 90% sure, 70% needed."),
        (
            "answered",
            (
                Attempt("prompting", confidence=0.1, threshold=0.8),
                SURE,
            ),
            "From the documents: 90% sure, 70% needed. Before it, direct answer was held back, 10% sure, 80% needed.",
        ),
        ("handed_off", (), "Handed to a person: the asker wants a person."),
        ("abstained", (Attempt("rag", failure="no engine."),), "Declined, since every level failed: no engine."),
        (
            "abstained",
            (Attempt("rag", confidence=0.2, threshold=0.7),),
            "Declined: no level was sure enough. The nearest was from the documents, 20% sure, 70% needed.",
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_why(outcome: Outcome, attempts: tuple[Attempt, ...], sentence: str) -> None:
    assert why(trace(outcome, *attempts)) == sentence


def test_secrets_are_hidden_and_what_was_changed_comes_first() -> None:
    settings = Settings(
        model_key="sk-hidden",
        database="postgresql://ann:hidden@db/rungs",
        chroma="http://ann:hidden@far",
        answer_tokens=99,
    )
    html = unescape(settings_html(settings, origins_of(settings)))
    assert "hidden@" not in html and "sk-hidden" not in html
    assert html.count("set, not shown") == 2 and "http://ann:•••@far" in html and "99" in html
    assert html.index("answer_tokens") < html.index("context_tokens")


def test_a_report_of_failures_is_bounded() -> None:
    failed = [{"source": f"f{number}.pdf", "reason": "no PDF"} for number in range(500)]
    html = job_html(job(running=False, result={**COUNTS, "failed": failed}))
    assert html.count("<tr>") < 110 and "400 more" in html
