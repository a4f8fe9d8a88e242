"""Crowds: few begin at a time, in their order; nobody is lost; a full house is said unread."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.testclient import TestClient

from ui.access.admission import BUSY_SECONDS, Places
from ui.access.crowds import ASKING, BEGINNING, FullHouse, Turns


def begun_by_turn(paths: list[str], gone: set[int] = frozenset()) -> list[list[int]]:  # type: ignore[assignment]
    """Which requests began in which turn of the loop, when all come at once; some leave before it is theirs."""
    turn, seen = 0, dict[int, list[int]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.setdefault(turn, []).append(scope["number"])

    async def crowd() -> None:
        nonlocal turn
        turns = Turns(app)
        scopes = [{"type": "http", "path": path, "number": number} for number, path in enumerate(paths)]
        tasks = [asyncio.ensure_future(turns(scope, None, None)) for scope in scopes]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turn += 1
            for number in gone:
                tasks[number].cancel()

    asyncio.run(crowd())
    return [seen[turn] for turn in sorted(seen)]


def test_few_begin_in_a_turn_and_in_their_order() -> None:
    seen = begun_by_turn(["/v1/models"] * 50)
    assert max(map(len, seen)) <= BEGINNING
    assert [number for turn in seen for number in turn] == list(range(50))


def test_a_health_check_waits_for_nobody() -> None:
    seen = begun_by_turn(["/v1/models"] * 50 + ["/healthz"])
    assert 50 in seen[0]


def test_who_leaves_before_their_turn_holds_up_nobody() -> None:
    seen = begun_by_turn(["/v1/models"] * 30, gone={8, 9, 10, 11, 29})
    assert sorted(number for turn in seen for number in turn) == [*range(8), *range(12, 29)]


def test_a_full_house_is_said_without_reading_the_question() -> None:
    places, asked = Places(1), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    web = TestClient(FullHouse(app, places))
    assert web.post(ASKING, content=b"{").status_code == 204
    places.take()
    refused = web.post(ASKING, content=b"{")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(BUSY_SECONDS))
    assert refused.json()["error"]["code"] == "busy" and refused.json()["error"]["type"] == "rate_limit_error"
    assert web.post("/widget/api/ask").status_code == 204 and web.get(ASKING).status_code == 204
    places.give_back()
    assert web.post(ASKING, content=b"{").status_code == 204
    assert asked == [ASKING, "/widget/api/ask", ASKING, ASKING]
