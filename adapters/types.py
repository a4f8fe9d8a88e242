"""The nouns of training data: turns, passages, examples. Frozen; every stage returns new ones.

They arrive from above as data: the assistant's own turns and passages are other types, so that nothing here depends
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Expect = Literal["grounded", "decline", "style"]
"""What an example teaches: to answer from passages, to decline for want of them, or only how things are said."""
EXPECTS: tuple[Expect, ...] = ("grounded", "decline", "style")
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document with its address, as it was or will be shown to the model."""

    text: str
    address: str = ""
    """What the prompt calls it: a heading path or a title."""
    document: str = ""
    """The document's path, for keeping its rows in one part; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the answer that should have been given."""

    id: str
    question: str
    answer: str
    history: tuple[Turn, ...] = ()
    passages: tuple[Passage, ...] = ()
    expect: Expect = "style"
    source: str = ""
    """Where the row came from: a file's name, `traces`, `generated`."""
    licence: str = ""
    """Under which terms; empty for the owner's own rows."""
    document: str = ""
    """The document that holds the answer (for an unanswerable row: the one it was asked of)."""
    conversation: str = ""
    approved_by: str = ""
    """Who approved it; empty means nobody, and the row is left out."""
    consent: bool = False
    """Whether the person it came from agreed, or no person is behind it; otherwise the row is left out."""
    rejected: str = ""
    """The draft that was corrected into `answer`; such rows are preference pairs, too."""
    distance: float | None = None
    """How far the answer is from the rejected draft, 0 to 1, where somebody measured it."""


Message = Mapping[str, str]
"""A chat message with the keys `role` and `content`, as chat templates take it."""
Render = Callable[[Example], Sequence[Message]]
"""The messages that serving would send for an example, without the answer. Given by the caller."""
Count = Callable[[str], int]
"""Tokens of a text."""


@dataclass(frozen=True, slots=True)
class Room:
    """How long a row is, and how long it may be."""

    tokens_of: Callable[[Example], int]
    """Tokens of the rendered prompt and the answer, as `rendering.row_tokens` counts them."""
    tokens_max: int
