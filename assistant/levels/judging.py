"""What every level shares: its parts, how a draft is judged, and how a model writes one while it is being judged.

Decides whether one draft is accepted; which level comes next is the pipeline's affair. Used by the files beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from assistant.confidence import Calibration
from assistant.signals import finite
from assistant.types import Attempt, ChatModel, Citation, Completed, Draft, Level, Message, Token, Words
from knowledge.types import Sentence

PACE_SECONDS = 0.06
"""Words that come faster are shown together: each piece wakes every part of the way to a page."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The parts that levels are made from; put together in `build.py`."""

    model: ChatModel
    calibration: Calibration
    versions: Mapping[str, str]
    answer_tokens: int
    evidence_tokens: int
    rag_answers_by: str
    """quoting or generating"""
    adapter: str | None
    """Name of the adapter that level lora serves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged draft."""

    accepted: bool
    confidence: float | None
    threshold: float | None
    signals: Mapping[str, float]
    held_back_because: str | None = None
    """Why the draft is not accepted however sure the level is."""


Judge = Callable[[Sequence[Token]], Verdict]


def judge(bench: Bench, level: Level, signals: Mapping[str, float], *, forced: bool) -> Verdict:
    """Signals to a verdict. A forced level is accepted whatever its confidence, which is reported all the same."""
    signals = finite(signals)
    fitted = bench.calibration.of(level, bench.versions)
    if fitted is None:
        return Verdict(forced, None, None, signals)
    return Verdict(forced or fitted.accepts(signals), fitted.confidence(signals), fitted.threshold, signals)


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote, and what was thought of it."""

    tokens: tuple[Token, ...]
    completed: Completed | None
    """None where the writing was broken off as soon as its verdict was clear."""
    verdict: Verdict

    @property
    def text(self) -> str:
        """The draft's text."""
        return "".join(token.text for token in self.tokens).strip()


def write(
    bench: Bench,
    messages: Sequence[Message],
    judged: Judge,
    *,
    conversation: str,
    cancel: threading.Event,
    adapter: str | None = None,
    probe: int | None = None,
    forced: bool = False,
) -> Generator[Words, None, Written]:
    """Let the model write; judge after `probe` tokens, or the whole draft where `probe` is None.

    Args:
        bench: whose model writes.
        messages: the prompt.
        judged: gives the verdict on what is written so far.
        conversation: whose slot of the engine.
        cancel: ends the writing.
        adapter: to write with.
        probe: tokens after which the draft is judged.
        forced: the draft is accepted whatever its verdict says, so that nobody needs to wait for it.

    Yields:
        Words of the draft, from the moment it is accepted on; none of a draft that is not.
    """
    tokens: list[Token] = []
    verdict: Verdict | None = judged(()) if probe == 0 else None
    completed: Completed | None = None
    said, spoken = 0, -PACE_SECONDS
    stream = bench.model.stream(
        messages, max_tokens=bench.answer_tokens, adapter=adapter, conversation=conversation, cancel=cancel
    )
    try:
        for item in stream:
            if isinstance(item, Completed):
                completed = item
                break
            tokens.append(item)
            if verdict is None and len(tokens) == probe:
                verdict = judged(tokens)
                if not verdict.accepted:
                    break
            shown = forced or verdict is not None
            if shown and time.monotonic() - spoken >= PACE_SECONDS and (text := _text(tokens, said)):
                yield Words(text)
                said, spoken = len(tokens), time.monotonic()
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()
    if verdict is None:
        verdict = judged(tokens)
    if verdict.accepted and len(tokens) > said and not cancel.is_set():
        yield Words(_text(tokens, said).rstrip())
    return Written(tuple(tokens), completed, verdict)


def _text(tokens: Sequence[Token], said: int) -> str:
    """What is not said yet; an answer does not begin with white space."""
    text = "".join(token.text for token in tokens[said:])
    return text if said else text.lstrip()


def attempt_of(
    bench: Bench,
    level: Level,
    written: Written,
    messages: Sequence[Message],
    citations: Sequence[Citation] = (),
) -> Attempt:
    """The attempt that a piece of writing makes."""
    completed = written.completed
    tokens_in = completed.tokens_in if completed else sum(bench.model.count_tokens(m.content) for m in messages)
    draft = Draft(
        text=written.text,
        citations=tuple(citations),
        tokens=written.tokens,
        tokens_in=tokens_in,
        tokens_out=completed.tokens_out if completed else len(written.tokens),
        finish=completed.finish if completed else "broken off",
    )
    verdict = written.verdict
    return Attempt(
        level,
        accepted=verdict.accepted and bool(draft.text),
        draft=draft,
        signals=verdict.signals,
        confidence=verdict.confidence,
        threshold=verdict.threshold,
        held_back_because=verdict.held_back_because,
    )


def cite(sentence: Sentence) -> Citation:
    """A sentence as a citation."""
    passage = sentence.passage
    return Citation(
        document=passage.document,
        title=passage.title,
        heading=passage.heading,
        uri=passage.uri,
        quote=sentence.text,
        score=round(sentence.similarity, 4),
        passage_id=passage.id,
        passage=passage.text,
        start=sentence.start,
        page=passage.page,
        source=passage.source,
    )
