"""Revisions side by side on one question: the same evidence, the same prompt, one engine with all of them loaded.

For a person who decides. Called by the commands and the console.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from adapters.errors import AdapterError
from assistant import prompts
from assistant.adapting.planning import sentences
from assistant.levels.rag import declines
from assistant.models import make_model
from assistant.types import Completed, Question

if TYPE_CHECKING:
    from assistant.build import Rungs

BASE = "base"


@dataclass(frozen=True, slots=True)
class Said:
    """What one side said."""

    side: str
    """`base`, or `name@revision`."""
    text: str
    declines: bool
    logprob_mean: float | None
    """Mean log-probability of its tokens, nats; None where the model tells none."""
    logprob_min: float | None
    seconds: float


def compare(rungs: Rungs, sides: Sequence[tuple[str, str] | None], text: str) -> Iterator[Said]:
    """Let each side answer the question over the evidence that serving would show.

    Args:
        rungs: whose knowledge is searched.
        sides: name and revision; None is the base model over the same evidence.
        text: the question.

    Raises:
        AdapterError: a revision is missing or damaged, or nothing is found to answer from.
    """
    loaded = {f"{side[0]}@{side[1]}": rungs.registry.load(*side).folder for side in sides if side}
    question = Question(text, "", (), "compare")
    shown = sentences(rungs, question)
    if not shown:
        raise AdapterError("nothing is known about that question: level lora would not be asked. Try another one.")
    messages = prompts.grounded(question, shown)
    with closing(make_model(rungs.settings, loaded)) as model:
        for side in sides:
            name = f"{side[0]}@{side[1]}" if side else None
            started = time.monotonic()
            stream = model.stream(messages, max_tokens=rungs.settings.answer_tokens, adapter=name)
            tokens = [item for item in stream if not isinstance(item, Completed)]
            said = "".join(token.text for token in tokens).strip()
            told = [token.logprob for token in tokens if token.logprob is not None]
            yield Said(
                name or BASE,
                said,
                declines(said),
                round(fmean(told), 4) if told else None,
                round(min(told), 4) if told else None,
                round(time.monotonic() - started, 3),
            )
