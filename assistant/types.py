"""The nouns of the cascade: question, route, draft, attempt, answer, trace. Frozen; stages return new ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from knowledge.types import Hit, Sentence

Level = Literal["prompting", "rag", "lora"]
LEVEL_NAMES: tuple[Level, ...] = ("prompting", "rag", "lora")
State = Literal["trying", "skipped", "rejected", "accepted", "failed"]
Outcome = Literal["answered", "abstained", "handed_off"]
Role = Literal["system", "user", "assistant"]
DRAFTING = "copilot"
"""The surface of an agent's drafts: they are in the conversation's records, and no visitor sees them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message as a model reads it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of generated text with its natural-log probability (None where the server sends none)."""

    text: str
    logprob: float | None = None
    runner_up: float | None = None
    """Log-probability of the most likely other token; the margin to it is a signal."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The last item of a model's stream."""

    finish: Literal["stop", "length", "cancelled"]
    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0
    """Prompt tokens that were not read again."""


class ChatModel(Protocol):
    """Messages in, a stream of text with token log-probabilities out. One file each in `assistant/models/`."""

    name: str
    fingerprint: str
    """Identifies the weights (a hash, or server and model name): calibration is keyed on it."""
    context_tokens: int

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names that `stream(adapter=)` accepts."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        adapter: str | None = None,
        conversation: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Token | Completed]:
        """Generate greedily (temperature 0). Yields tokens, then exactly one `Completed`.

        Args:
            messages: a system message first, always (some templates invent one otherwise).
            max_tokens: at most this many generated tokens.
            adapter: a name out of `adapters`, or None for the base weights alone.
            conversation: requests of one conversation reuse each other's prompt prefix.
            cancel: once set, generation stops within one token and `Completed("cancelled")` follows. Closing
                the generator does the same.

        Raises:
            ModelUnavailable: the engine or server is not there.
            ModelTimeout: a deadline passed.
            PromptTooLong: prompt and `max_tokens` do not fit `context_tokens`.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, exactly where the tokenizer is at hand, else an estimate that errs upward."""
        ...

    def close(self) -> None:
        """Give back the engine. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asked, with its history, its surface and its conversation."""

    text: str
    conversation_id: str
    history: tuple[Turn, ...] = ()
    surface: str = "cli"
    level: Level | None = None
    """Set where the asker forces one level (`--level rag`); None is the cascade."""
    site: str = ""
    """Which site or team asks; it may have an adapter of its own."""
    once: str = ""
    """A key of the asker's: the same key again in the same conversation is the same question. None where empty."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What retrieval found for a question; found once, reused by every level."""

    queries: tuple[str, ...]
    """The wordings searched for: first the question as understood in its conversation."""
    hits: tuple[Hit, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    """The sentences that matter, best first."""
    signals: Mapping[str, float] = field(default_factory=dict)
    degraded: str | None = None
    """Why retrieval could not work fully (index damaged, ...), in words for the trace."""


@dataclass(frozen=True, slots=True)
class Step:
    """One level of a route: to be tried, or skipped with a reason."""

    level: Level
    skipped_because: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Which levels will be tried, in order, and why one is skipped."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence that supports an answer, with its address."""

    document: str
    title: str
    heading: str
    uri: str
    quote: str
    score: float
    passage_id: str = ""
    passage: str = ""
    """The whole passage text, so that a page can open it with the quote marked at `start`."""
    start: int = 0
    page: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What one level produced, not yet accepted."""

    text: str
    citations: tuple[Citation, ...] = ()
    tokens: tuple[Token, ...] = ()
    """The generated tokens; empty where the level quoted instead of generating."""
    tokens_in: int = 0
    tokens_out: int = 0
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One level tried or skipped."""

    level: Level
    accepted: bool = False
    skipped_because: str | None = None
    failure: str | None = None
    draft: Draft | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    """Calibrated probability of being right, 0 to 1."""
    threshold: float | None = None
    """What the confidence had to reach; None where nothing can be promised for this level."""
    held_back_because: str | None = None
    """Why its draft is not shown however sure the level is."""
    seconds: float | None = None

    @property
    def state(self) -> State:
        """What became of it."""
        if self.skipped_because:
            return "skipped"
        return "failed" if self.failure else "accepted" if self.accepted else "rejected"

    @property
    def reason(self) -> str:
        """Why that became of it, in words."""
        because = self.skipped_because or self.failure or self.held_back_because
        if because:
            return because
        if self.confidence is None or self.threshold is None:
            return "no confidence can be promised"
        return f"{self.confidence:.0%} sure, {self.threshold:.0%} needed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user is shown: an accepted draft, an abstention, or a hand-off."""

    text: str
    outcome: Outcome
    level: Level | None = None
    confidence: float | None = None
    citations: tuple[Citation, ...] = ()
    """Support of the answer; for an abstention the closest sources."""
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The record of a question that explains every step."""

    id: str
    question: Question
    evidence: Evidence
    route: Route
    attempts: tuple[Attempt, ...]
    answer: Answer
    versions: Mapping[str, str]
    """model, adapter, index, prompts, calibration."""
    seconds: float
    started_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Climbing:
    """Stream event: a level starts, is skipped, is not accepted, or is accepted. Surfaces show it as progress."""

    level: Level
    state: State
    note: str = ""
    """A short reason in words."""

    @classmethod
    def of(cls, attempt: Attempt) -> Climbing:
        """What became of an attempt."""
        return cls(attempt.level, attempt.state, "" if attempt.accepted else attempt.reason)


@dataclass(frozen=True, slots=True)
class Words:
    """Stream event: text of an *accepted* level, to be appended to what is shown.

    A later `Climbing` event withdraws it (the level broke down half-way): what was shown is to be cleared.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Stream event, the last: the trace is closed and on disk."""

    trace: Trace


Event = Climbing | Words | Finished


class TrainableModel(ChatModel, Protocol):
    """A chat model whose weights are at hand, so that adapters can be trained for it."""

    weights: Path
    """A GGUF file or a Hugging Face folder."""

    def as_trained(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """Token ids of a prompt, exactly as `stream` reads it, and of an answer with the token that ends it."""
        ...


class TransferLevel(Protocol):
    """One rung. One file each in `assistant/levels/`."""

    name: Level

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        """Why this level should not be tried for this question; None to try it."""
        ...

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        """Try to answer. Yields `Words` only once accepted, and last the `Attempt`."""
        ...
