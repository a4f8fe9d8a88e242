"""The general questions that are trained on are none that the gate asks."""

from __future__ import annotations

from importlib.resources import files

from adapters.gate_questions import fixed
from adapters.overlap import Golden, overlaps
from adapters.types import Example


def test_no_general_prompt_is_one_of_the_gates() -> None:
    lines = files("adapters").joinpath("general_prompts.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines) > 150
    rows = [Example(str(number), line, "an answer") for number, line in enumerate(lines)]
    gate = Golden({question.id: question.question for question in fixed("general")})
    assert not list(overlaps(rows, gate))
