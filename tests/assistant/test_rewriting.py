"""A model rewrites an agent's words; what lost or invented something is thrown away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.models.scripted import ScriptedModel
from assistant.rewriting import (
    Rewritten,
    cannot_write,
    rewrite,
    summarise,
    translate,
)
from assistant.settings import Settings
from assistant.thread import Entry

TEXT = "You can order a new bulb from the glassworks in Ghent for 9 pounds, at https://lamps.test/order today."
GOOD = "Please order a new bulb from the glassworks in Ghent for 9 pounds, at https://lamps.test/order today."
SAID = (
    Entry("1", "visitor", "How is a lamp switched on? I bought it on Monday and it stays dark in the kitchen.", ""),
    Entry("1", "assistant", "A lamp is switched on with the red lever behind its foot.", ""),
    Entry("2", "note", "this one is difficult", ""),
    Entry("3", "visitor", "I pulled the lever and nothing happens at all, in spite of a new bulb.", ""),
)


def last(items: Iterator[str | Rewritten]) -> Rewritten:
    *_, end = items
    assert isinstance(end, Rewritten)
    return end


@pytest.mark.parametrize("change", ["friendlier", "formal"])
def test_a_text_is_rewritten_as_it_is_written(change: str) -> None:
    model = ScriptedModel([f'"{GOOD}"'])
    *growing, end = rewrite(model, TEXT, change)  # type: ignore[arg-type]
    assert len(growing) > 5 and end == Rewritten(GOOD)
    assert model.asked[0].messages[-1].content == TEXT


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "wrote nothing"),
        (GOOD.replace("9 pounds", "some pounds"), "left out 9"),
        (GOOD.replace("Ghent", "the city"), "left out ghent"),
        (GOOD.replace("https://lamps.test/order", "our page"), "left out lamps.test/order"),
        (GOOD + " Ask Peter.", "added peter"),
        (GOOD.replace("9 pounds", "9 pounds or 12 euros"), "added 12"),
        (GOOD + " or" * 400, "not come to an end"),
        ("9 Ghent https://lamps.test/order: sorry for any misunderstanding, nobody here refunds things", "else"),
    ],
)
def test_what_lost_or_invented_something_is_thrown_away(written: str, told: str) -> None:
    end = last(rewrite(ScriptedModel([written]), TEXT, "friendlier"))
    assert end.text == TEXT and told in end.warning and "was kept" in end.warning


def test_what_is_no_shorter_is_not_called_shorter() -> None:
    assert "no shorter" in last(rewrite(ScriptedModel([TEXT]), TEXT, "shorter")).warning
    short = "Order a new bulb from the glassworks in Ghent for 9 pounds: https://lamps.test/order"
    assert last(rewrite(ScriptedModel([short]), TEXT, "shorter")) == Rewritten(short)


def test_a_translation_keeps_numbers_and_addresses_and_may_change_names() -> None:
    german = "Eine neue Birne kostet bei der Glashütte in Gent 9 Pfund: https://lamps.test/order"
    assert last(translate(ScriptedModel([german]), TEXT, "de")) == Rewritten(german)
    assert last(translate(ScriptedModel([german.replace("9", "8")]), TEXT, "de")).text == TEXT


def test_a_rewriting_that_is_stopped_leaves_the_text() -> None:
    cancel = threading.Event()
    cancel.set()
    assert last(rewrite(ScriptedModel([GOOD]), TEXT, "formal", cancel)).text == TEXT


def test_the_embedded_model_says_that_it_writes_english_only(tmp_path: Path) -> None:
    small = Settings(home=tmp_path)
    assert small.answered_in == ("en",) and cannot_write(small, "en") == ""
    assert "writes English only" in cannot_write(small, "de")
    large = Settings(home=tmp_path, model="served")
    assert large.answered_in == () and cannot_write(large, "de") == ""
    said = Settings(home=tmp_path, languages=["en", "de"])
    assert cannot_write(said, "de") == "" and "English, German" in cannot_write(said, "fr")


def test_a_summary_says_only_what_was_said() -> None:
    good = "The visitor cannot switch a lamp on. The lever did not help, so it is open."
    assert last(summarise(ScriptedModel([good]), SAID)).text == good
    model = ScriptedModel(["The visitor bought 3 lamps in Paris."])
    end = last(summarise(model, SAID))
    assert end.text == "" and "nobody said" in end.warning
    assert "difficult" not in model.asked[0].messages[-1].content, "notes are for agents"


@pytest.mark.parametrize("written", ["", "Visitor: How is a lamp switched on?", " ".join(entry.text for entry in SAID)])
def test_what_is_no_summary_is_none(written: str) -> None:
    end = last(summarise(ScriptedModel([written]), SAID))
    assert end.text == "" and end.warning


def test_a_long_conversation_is_summarised_from_its_end() -> None:
    model = ScriptedModel(["It is open."], context_tokens=600)
    many = [Entry(str(n), "visitor", f"word{n} " * 30, "") for n in range(50)]
    assert last(summarise(model, many)).text == "It is open."
    told = model.asked[0].messages[-1].content
    assert "word49" in told and "word1 " not in told
