"""A card is read back as it was written, and refused where something would depend on what it cannot know."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.card import (
    AdapterCard,
    GateCheck,
    GateReport,
    StageChange,
    card_json,
    check_gate,
    dump_card,
    parse_card,
    portable,
)
from adapters.errors import AdapterError
from tests.adapters.samples import ACCEPTED, REFUSED, card

WHOLE = replace(card(), revision="0123456789ab", files={"adapter_config.json": "b" * 64}, gate=ACCEPTED)


def written(made: AdapterCard = WHOLE) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(dump_card(made))
    return said


def read(said: dict[str, Any]) -> AdapterCard:
    return parse_card(json.dumps(said).encode(), "card.json")


def test_a_card_comes_back_as_it_was() -> None:
    assert parse_card(dump_card(WHOLE), "card.json") == WHOLE
    assert dump_card(WHOLE) == dump_card(parse_card(dump_card(WHOLE), "card.json"))


def test_the_file_says_no_stage_and_the_json_for_people_does() -> None:
    change = StageChange("0123456789ab", "live", "2026-11-23T10:00:00+00:00", "Ada", "looks good")
    live = replace(WHOLE, stage="live", promoted_by="Ada", reason="looks good", history=(change,))
    assert dump_card(live) == dump_card(WHOLE)
    told = card_json(live)
    assert (told["stage"], told["promoted_by"], told["reason"]) == ("live", "Ada", "looks good")
    assert json.loads(json.dumps(told))["history"][0]["by"] == "Ada"


def test_what_a_newer_version_tells_is_kept_where_nothing_depends_on_it() -> None:
    said = written()
    said["mood"] = {"a": [1]}
    said["lineage"]["consent"] = "all rows"
    said["lineage"]["sources"][0]["url"] = "https://example.org"
    said["settings"]["dropout"] = 0.1
    said["extra"] = 5
    made = read(said)
    assert made.extra == {"mood": {"a": [1]}, "extra": 5}
    assert made.settings.extra == {"dropout": 0.1}
    assert written(made) == said


@pytest.mark.parametrize("where", ["gate", "check", "stage", "history"])
def test_what_nobody_knows_is_refused_where_something_depends_on_it(where: str) -> None:
    said = written()
    if where == "gate":
        said["gate"]["override"] = True
    elif where == "check":
        said["gate"]["checks"][0]["weight"] = 0
    else:
        said[where] = "live"
    with pytest.raises(AdapterError, match=where.replace("check", "checks")):
        read(said)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "2026-11-23T10:00:00"}, "created_at"),
        ({"base_hash": "../x"}, "base_hash"),
        ({"base_hash": "abc"}, "base_hash"),
        ({"base_name": " "}, "base model"),
        ({"files": {"adapter_config.json": "b"}}, "SHA-256"),
        ({"files": ["a"]}, "files"),
        ({"loss_first": "2.5"}, "loss_first"),
        ({"loss_first": 1e999}, "card.json"),
        ({"versions": {"peft": 1}}, "versions"),
        ({"name": None}, "name"),
        ({"name": "a\x1b[2J"}, "control"),
        ({"lineage": None}, "lineage"),
        ({"lineage": {"data_hash": "x", "sources": []}}, "data_hash"),
        ({"lineage": {"data_hash": None, "sources": [{"name": "a", "rows": -1, "licence": "b"}]}}, "source"),
        ({"lineage": {"data_hash": None, "sources": [{"name": "a", "rows": "1", "licence": "b"}]}}, "rows"),
        ({"lineage": {"data_hash": None, "sources": ["squad2"]}}, "sources"),
        ({"settings": {"rank": 4}}, "alpha"),
        ({"settings": {**written()["settings"], "rank": 10**4000}}, "rank must be"),
        ({"settings": {**written()["settings"], "rank": True}}, "rank"),
        ({"gate": {"verdict": "maybe", "reasons": ["x"], "checks": []}}, "verdict"),
        ({"gate": {"verdict": "refuse", "reasons": [], "checks": []}}, "no reason"),
        ({"gate": {"verdict": "accept", "reasons": ["x"], "checks": []}}, "nothing was checked"),
        ({"gate_elsewhere": {"verdict": "accept", "reasons": ["x"], "checks": []}}, "nothing was checked"),
    ],
)
def test_what_cannot_be_true_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(AdapterError, match=says):
        read({**written(), **change})


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"[" * 10_000, b'{"name": 1, "name": 2}', b" " * 600_000, b"\xff"])
def test_what_is_no_card_is_refused(raw: bytes) -> None:
    with pytest.raises(AdapterError, match=r"card\.json"):
        parse_card(raw, "card.json")


def test_a_missing_field_is_named() -> None:
    said = written()
    del said["base_hash"]
    with pytest.raises(AdapterError, match="base_hash"):
        read(said)


def test_a_card_that_could_not_be_read_back_is_not_written() -> None:
    for broken in (
        replace(WHOLE, loss_last=float("nan")),
        replace(WHOLE, base_name="\x00"),
        replace(WHOLE, created_at="now"),
        replace(WHOLE, extra={"x": object()}),
        replace(WHOLE, loss_last="1"),  # type: ignore[arg-type]
    ):
        with pytest.raises(AdapterError):
            dump_card(broken)


def test_a_gate_may_not_accept_against_its_own_checks() -> None:
    failed = GateCheck("declining", 100, 0.8, 0.1, -0.7, -0.8, -0.6, False)
    told_only = GateCheck("twins", 100, None, 0.1, None, None, None, None)
    check_gate(ACCEPTED)
    check_gate(REFUSED)
    check_gate(GateReport("too_little_evidence", ("30 rows are too few.",), ()))
    for checks in ((failed,), (), (told_only,), (*ACCEPTED.checks, failed)):
        with pytest.raises(AdapterError, match="accepts"):
            check_gate(GateReport("accept", ("fine",), checks))


def test_what_leaves_takes_the_gate_along_as_a_claim() -> None:
    imported = replace(WHOLE, gate=None, gate_elsewhere=ACCEPTED)
    assert portable(imported) == portable(WHOLE) == WHOLE
    assert WHOLE.accepted and not imported.accepted
