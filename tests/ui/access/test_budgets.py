"""Budgets: no more than the limit, whoever counts, however the clock runs; a time to come back that is true."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from knowledge.database import open_engine, reading
from ui.access.budgets import Budgets, Limit, Spent, payers
from ui.access.people import Account, Key
from ui.access.people_tables import budgets as rows

LIMITS = {"visitor": Limit(questions=5, tokens=100), "site": Limit(questions=8), "key": Limit(tokens=10)}


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def budgets(engine: Engine, clock: Clock) -> Budgets:
    return Budgets(engine, LIMITS, clock)


def taken(budgets: Budgets, *who: str, tries: int = 100) -> int:
    for number in range(tries):
        try:
            budgets.take(*who)
        except Spent:
            return number
    return tries


def test_no_more_than_the_limit_and_others_are_not_touched(budgets: Budgets) -> None:
    assert taken(budgets, "visitor:ann") == 5
    assert taken(budgets, "visitor:ben") == 5
    assert taken(budgets, "address:9.9.9.9") == 100, "no limit is named for it"


def test_whoever_comes_back_when_told_is_let_in_and_not_a_second_earlier(budgets: Budgets, clock: Clock) -> None:
    clock.now += 17
    assert taken(budgets, "visitor:ann") == 5
    with pytest.raises(Spent) as refused:
        budgets.take("visitor:ann")
    assert 1 <= refused.value.seconds <= 61
    clock.now += refused.value.seconds - 2
    with pytest.raises(Spent):
        budgets.take("visitor:ann")
    clock.now += 2
    budgets.take("visitor:ann")


def test_a_burst_at_the_seam_of_two_windows_gains_nothing(budgets: Budgets, clock: Clock) -> None:
    clock.now += 59
    assert taken(budgets, "visitor:ann") == 5
    clock.now += 2
    assert taken(budgets, "visitor:ann") == 0


def test_of_all_or_of_none(budgets: Budgets) -> None:
    assert taken(budgets, "site:s", "visitor:ann") == 5
    assert taken(budgets, "site:s", "visitor:ben") == 3, "the refused ones cost the site nothing"


def test_tokens_are_counted_after_the_answer_and_refuse_the_next(budgets: Budgets, clock: Clock) -> None:
    budgets.take("visitor:ann")
    budgets.spend(("visitor:ann", "key:k"), 150)
    with pytest.raises(Spent, match="tokens in a day") as refused:
        budgets.take("visitor:ann")
    assert refused.value.seconds > 3600
    with pytest.raises(Spent):
        budgets.take("key:k")
    clock.now += refused.value.seconds + 1
    budgets.take("visitor:ann")


@pytest.mark.parametrize("jump", [-1, -61, -86_400, -10 * 365 * 86_400, 10 * 365 * 86_400])
def test_a_clock_that_jumps_locks_nobody_out(budgets: Budgets, clock: Clock, jump: int) -> None:
    clock.now += 30
    assert taken(budgets, "visitor:ann") == 5
    clock.now += jump
    for _ in range(3):
        got = taken(budgets, "visitor:ann")
        assert got <= 5
        try:
            budgets.take("visitor:ann")
        except Spent as refused:
            assert refused.seconds <= 61
            clock.now += refused.seconds
    budgets.take("visitor:ann")


def test_threads_together_get_the_limit_exactly(budgets: Budgets) -> None:
    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda _: taken(budgets, "site:s", tries=4), range(12)))
    assert sum(got) == 8


def _in_a_process(url: str) -> int:
    engine = open_engine(url)
    try:
        return taken(Budgets(engine, LIMITS, Clock()), "site:s", tries=6)
    finally:
        engine.dispose()


def test_processes_together_get_the_limit_exactly(engine: Engine) -> None:
    Budgets(engine, LIMITS)  # the tables
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert sum(pool.map(_in_a_process, [str(engine.url)] * 3)) == 8


def test_nobody_is_named_and_nothing_is_kept_for_long(budgets: Budgets, engine: Engine, clock: Clock) -> None:
    budgets.take("visitor:ann-secret")
    with reading(engine) as connection:
        (who,) = connection.scalars(select(rows.c.who).distinct())
    assert who.startswith("visitor:") and "ann" not in who
    clock.now += 3 * 86_400
    budgets.take("visitor:ben")
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(rows)) == 1


@pytest.mark.parametrize(
    ("client", "named"),
    [
        ("203.0.113.9", ("address:203.0.113.9",)),
        ("::ffff:203.0.113.9", ("address:203.0.113.9",)),
        ("127.0.0.1", ()),
        ("::1", ()),
        ("::ffff:127.0.0.1", ()),
        ("testclient", ()),
    ],
)
def test_an_address_pays_unless_it_is_this_machine(client: str, named: tuple[str, ...]) -> None:
    assert payers({"client": (client, 1)}) == named


def test_a_network_of_ipv6_addresses_is_one_and_a_key_pays_beside_its_address() -> None:
    one, other = (payers({"client": (f"2001:db8:1:2::{end}", 1)}) for end in ("1", "ffff"))
    assert one == other and len(one) == 1
    key = Key("k1", "name", ("ask",), "ann", "now")
    assert payers({"rungs.who": key, "client": ("203.0.113.9", 1)}) == ("key:k1", "address:203.0.113.9")
    ann: Any = Account("ann", "user", "now")
    assert payers({"rungs.who": ann, "client": None}) == ("visitor:account ann",)
