"""The MCP server, through the real client and a real listener, on the scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client

from tests.ui.browsing import Served, scripted_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with scripted_site(tmp_path_factory.mktemp("mcp")) as site:
        yield site


def told(site: Served, tool: str, **arguments: Any) -> tuple[bool, dict[str, Any]]:
    """Whether a tool failed, and what it gave."""

    async def call() -> tuple[bool, dict[str, Any]]:
        async with Client(f"{site.url}/mcp") as client:
            names = [one.name for one in (await client.list_tools()).tools]
            assert names == ["ask", "search"]
            done = await client.call_tool(tool, arguments)
            return bool(done.is_error), done.structured_content or {}

    return asyncio.run(call())


def test_another_assistant_may_ask(site: Served) -> None:
    failed, answer = told(site, "ask", question="How is a lamp switched on?")
    assert not failed
    assert "red lever" in answer["text"]
    assert (answer["level"], answer["outcome"]) == ("rag", "answered")
    assert answer["citations"][0]["document"] == "lamps.md"


def test_another_assistant_may_search(site: Served) -> None:
    failed, found = told(site, "search", text="glassworks in Ghent", results=1)
    assert not failed and [one["document"] for one in found["results"]] == ["lamps.md"]


@pytest.mark.parametrize(
    ("tool", "arguments"), [("ask", {"question": "  "}), ("search", {"text": "x", "results": 0}), ("ask", {})]
)
def test_bad_calls_are_errors(site: Served, tool: str, arguments: dict[str, Any]) -> None:
    failed, _ = told(site, tool, **arguments)
    assert failed
