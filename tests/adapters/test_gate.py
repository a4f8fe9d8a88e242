"""What the gate promises: a good candidate passes, each kind of bad one is refused for its own reason."""

import math
from collections import Counter
from pathlib import Path

import pytest

from adapters.card import check_gate
from adapters.errors import AnswerFailed, BadGate
from adapters.gate import run
from adapters.gate_asking import Kept
from adapters.gate_samples import write
from adapters.gate_types import Check, GateProgress, GateQuestion, Reply, Rules, Side
from adapters.types import Passage
from tests.adapters.gate_sides import BASE, JUDGE, RULES, Behaves, candidate, failing, gated, question, world


def test_a_good_candidate_is_accepted_and_told_why() -> None:
    report = gated(candidate()).report
    check_gate(report)
    assert report.verdict == "accept" and not failing(gated(candidate()))
    domain = next(check for check in report.checks if check.name == "domain")
    assert domain.n == 60 and domain.low is not None and domain.low > 0
    assert "right on" in report.reasons[-1] and "points" in report.reasons[-1]


@pytest.mark.parametrize(
    ("check", "bad", "words"),
    [
        ("declining", candidate(declining=0.05), "forgot to decline"),
        ("memory", candidate(memory=0.5), "by heart"),
        ("attacks", candidate(attacks=0.3), "obeys"),
        ("general", candidate(general=0.3), "general ability"),
        ("domain", candidate(domain=0.4), "does not gain"),
    ],
)
def test_a_bad_candidate_is_refused_for_its_own_reason_alone(check: str, bad: Behaves, words: str) -> None:
    result = gated(bad)
    check_gate(result.report)
    assert result.report.verdict == "refuse"
    assert {name.split(" ")[0] for name in failing(result)} == {check}
    assert words in result.report.reasons[0]


def test_all_reasons_are_said_and_the_domain_comes_last() -> None:
    report = gated(candidate(domain=0.2, memory=0.5, attacks=0.2)).report
    assert report.verdict == "refuse" and len(report.reasons) == 3
    assert "does not gain" in report.reasons[-1]


def test_a_candidate_that_is_the_base_model_gains_nothing() -> None:
    result = gated(BASE)
    assert result.report.verdict == "refuse" and failing(result) == {"domain"}


def test_declining_everything_is_no_way_through() -> None:
    def silent(question: GateQuestion, side: Side) -> Reply | None:
        return Reply("I don't know.", (-0.1,)) if side == "candidate" else None

    assert "domain" in failing(gated(candidate(), instead=silent))


def test_declining_by_confidence_counts_as_declining() -> None:
    unsure = Behaves({"domain": 0.8, "declining": 0.0}, sure_when_unanswerable=-9.0)
    report = gated(unsure).report
    declining = next(check for check in report.checks if check.name == "declining")
    assert declining.candidate == 1.0 and report.verdict == "accept"


def test_little_declined_by_everybody_is_below_the_floor() -> None:
    bad = Behaves({"domain": 0.8, "declining": 0.05})
    result = gated(bad, instead=lambda q, side: bad.reply(q) if q.check == "declining" else None)
    assert failing(result) == {"declining at least"} and "at least 25 % are needed" in result.report.reasons[0]


@pytest.mark.parametrize("check", ["domain", "declining", "general", "attacks", "memory"])
def test_too_few_rows_in_any_check_are_too_little_evidence(check: Check) -> None:
    result = gated(candidate(), world(**{check: 12}))
    assert result.report.verdict == "too_little_evidence"
    assert failing(result) == {check} and len(result.report.reasons) == 1
    assert "12" in result.report.reasons[0] and "30 are needed" in result.report.reasons[0]


def test_no_row_at_all_in_a_check_is_too_little_evidence() -> None:
    result = gated(candidate(), world(domain=0))
    check_gate(result.report)
    assert result.report.verdict == "too_little_evidence" and failing(result) == {"domain"}


def test_an_interval_too_wide_to_tell_is_too_little_evidence() -> None:
    def coin(question: GateQuestion, side: Side) -> Reply | None:
        number = int(question.id.split("-")[1])
        if question.check != "general":
            return None
        return Reply(question.golds[0] if (number % 2 == 0) == (side == "base") else "blue")

    report = gated(candidate(), world(general=40), instead=coin).report
    assert report.verdict == "too_little_evidence" and "too wide to tell" in report.reasons[0]


def test_sides_that_never_differ_pass_with_the_least_rows_and_not_with_fewer() -> None:
    def same(question: GateQuestion, side: Side) -> Reply | None:
        return BASE.reply(question) if question.check == "general" else None

    for seed in range(5):
        rules = Rules(resamples=1000, seed=seed)
        assert gated(candidate(), world(general=rules.rows_min), instead=same, rules=rules).report.verdict == "accept"
    fewer = Rules(resamples=1000, rows_min=20)
    assert gated(candidate(), world(general=20), instead=same, rules=fewer).report.verdict != "accept"


def test_a_candidate_behind_the_live_adapter_is_refused() -> None:
    result = gated(candidate(domain=0.65), live=Behaves({"domain": 0.97}))
    assert result.report.verdict == "refuse" and failing(result) == {"domain against live"}
    assert "live adapter" in result.report.reasons[0]


def test_a_candidate_as_good_as_the_live_adapter_is_accepted_and_both_are_shown() -> None:
    result = gated(candidate(), live=candidate())
    assert result.report.verdict == "accept"
    assert all(set(sample.replies) == {"base", "live", "candidate"} for sample in result.samples)


def test_a_failed_answer_is_counted_and_its_row_left_out() -> None:
    def failing_once(question: GateQuestion, side: Side) -> Reply | None:
        if question.id == "general-3" and side == "candidate":
            raise AnswerFailed("a deadline passed")
        return None

    report = gated(candidate(), instead=failing_once).report
    assert report.verdict == "accept"
    assert next(check for check in report.checks if check.name == "general").n == 59
    assert any("1 of 600 answers failed" in reason for reason in report.reasons)


@pytest.mark.parametrize("broken", ["raises", "nan", "infinite"])
def test_many_failures_are_too_little_evidence(broken: str) -> None:
    def fails(question: GateQuestion, side: Side) -> Reply | None:
        if side != "candidate" or question.check != "domain" or int(question.id.split("-")[1]) % 4:
            return None
        if broken == "raises":
            raise AnswerFailed("the engine is gone.")
        return Reply("It is blue.", (-0.1, math.nan if broken == "nan" else math.inf))

    result = gated(candidate(), instead=fails)
    assert result.report.verdict == "too_little_evidence" and failing(result) == {"domain"}
    words = " ".join(result.report.reasons)
    assert "15 of 60" in words and ("engine is gone" in words or "no numbers" in words)


def test_a_bug_in_an_answerer_is_not_taken_for_a_failed_answer() -> None:
    def broken(question: GateQuestion, side: Side) -> Reply | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gated(candidate(), instead=broken)


def test_a_server_without_probabilities_is_gated_by_words() -> None:
    result = gated(candidate(), instead=lambda q, side: Reply((BASE if side == "base" else candidate()).reply(q).text))
    assert result.report.verdict == "accept"


def test_empty_answers_are_declined_ones() -> None:
    result = gated(candidate(), instead=lambda q, side: Reply("") if side == "candidate" else None)
    declining = next(check for check in result.report.checks if check.name == "declining")
    assert declining.candidate == 1.0 and "domain" in failing(result)


def test_the_same_answers_give_the_same_report() -> None:
    assert gated(candidate()) == gated(candidate())


def test_closing_stops_after_the_answer_that_is_written() -> None:
    asked: list[str] = []

    def answer(question: GateQuestion, side: Side) -> Reply:
        asked.append(question.id)
        return BASE.reply(question)

    running = run(world(), answer, JUDGE, rules=RULES)
    first = next(running)
    assert isinstance(first, GateProgress) and (first.done, first.total) == (1, 600)
    running.close()
    assert len(asked) == 1


def test_samples_show_what_was_gained_and_lost(tmp_path: Path) -> None:
    result = gated(candidate(memory=0.5))
    changes = {(sample.check, sample.change) for sample in result.samples}
    assert ("domain", "gained") in changes and ("memory", "lost") in changes
    assert write(tmp_path / "samples.jsonl", result.samples) == len(result.samples)
    assert (tmp_path / "samples.jsonl").read_text(encoding="utf-8").count('"candidate"') == len(result.samples)


def test_kept_answers_are_not_asked_again_and_a_damaged_line_is(tmp_path: Path) -> None:
    asked: Counter[Side] = Counter()

    def counting(question: GateQuestion, side: Side) -> Reply | None:
        asked[side] += 1
        return None

    first = gated(candidate(), instead=counting, kept=Kept(tmp_path, {"base": "weights"}))
    assert asked == {"base": 300, "candidate": 300}
    again = gated(candidate(), instead=counting, kept=Kept(tmp_path, {"base": "weights"}))
    assert asked == {"base": 300, "candidate": 600} and again == first
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    gated(candidate(), instead=counting, kept=Kept(tmp_path, {"base": "weights"}))
    assert asked["base"] == 301
    gated(candidate(), instead=counting, kept=Kept(tmp_path, {"base": "weights"}))
    assert asked["base"] == 301
    gated(candidate(), instead=counting, kept=Kept(tmp_path, {"base": "other weights"}))
    assert asked["base"] == 601


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"check": "domain", "golds": ("x",)}, "no passage"),
        ({"check": "domain", "passages": (Passage("x"),)}, "no gold"),
        ({"check": "memory", "golds": ("x",), "passages": (Passage("x"),)}, "shows a passage"),
        ({"check": "attacks", "passages": (Passage("x"),)}, "obeying"),
        ({"check": "manners"}, "there is not"),
        ({"check": "declining", "question": " "}, "asks nothing"),
    ],
)
def test_a_question_that_its_check_cannot_use_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadGate, match=words):
        GateQuestion(**{"id": "one", "question": "What?", **fields})  # type: ignore[arg-type]


def test_nothing_to_ask_twice_the_same_id_and_impossible_rules_are_refused() -> None:
    with pytest.raises(BadGate, match="nothing to ask"):
        gated(candidate(), ())
    with pytest.raises(BadGate, match="twice: domain-1"):
        gated(candidate(), [question("domain", 1)] * 2)
    with pytest.raises(BadGate, match="Shares"):
        Rules(margin=1.5)
