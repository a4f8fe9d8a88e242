"""Questions and answers that are the same, or nearly: normalised texts, their hashes, and an index of near ones.

Near means that four-character shingles overlap (Jaccard) and that the same numbers stand in both: "version 7.1" and
"version 7.5" are two questions. Candidates come from MinHash bands (Broder 1997; Leskovec et al., Mining of Massive
Datasets, ch. 3), so that time grows with the number of rows, not with its square. Called by `dataset.py`,
`overlap.py` and `splits.py`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.types import Example, Expect

NEAR = 0.8
"""Jaccard similarity of shingles from which two texts say the same."""
SHINGLE = 4
BANDS, ROWS = 16, 4
"""16 bands of 4: a pair at 0.8 is found with probability 0.9998, one at 0.4 with 0.34 (and then compared)."""
SKETCH = 4096
"""Shingles of a giant text that its MinHash is taken of: the ones with the smallest hashes."""
BUCKET = 16
"""The latest entries of a bucket that a text is compared with: many equal questions cost no square."""
LEANS_BELOW = 5
"""A question of fewer words is only itself together with what was said before."""

Hashes = NDArray[np.uint64]
_Answer = tuple[Hashes, frozenset[str], Expect]
_WORD = re.compile(r"\w+[+#]*")
_NUMBER = re.compile(r"\d+")
_POWERS = np.array([0x9E3779B97F4A7C15 ** (i + 1) % 2**64 for i in range(SHINGLE)], np.uint64)
_NUMBERS = np.random.default_rng(20261122)
_FACTORS = _NUMBERS.integers(0, 2**63, BANDS * ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _NUMBERS.integers(0, 2**63, BANDS * ROWS, np.uint64)


def normalised(text: str) -> str:
    """Words in lower case with one space between; punctuation, case and width forms gone ("C++" stays)."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or " ".join(text.split())


def asked(question: str, history: Sequence[str] = ()) -> str:
    """What a question asks, normalised: with the turns before where it is too short to stand alone."""
    own = normalised(question)
    turns = history if own.count(" ") + 1 < LEANS_BELOW else ()
    return "\n".join([*(normalised(turn) for turn in turns), own])


def asked_in(example: Example) -> str:
    """`asked` of an example."""
    return asked(example.question, [turn.text for turn in example.history])


class NearTexts:
    """An index of texts that answers which earlier one is nearly the same."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, bytes], list[int]] = {}
        self._texts: list[tuple[Hashes, frozenset[str]]] = []

    def add(self, text: str) -> None:
        """Put a text in; its number is how many were there before."""
        shingles = _shingles(text)
        for bucket in self._buckets_of(shingles):
            bucket.append(len(self._texts))
        self._texts.append((shingles, frozenset(_NUMBER.findall(text))))

    def find(self, text: str) -> list[int]:
        """Numbers of the texts that are nearly the same, the earliest first."""
        shingles, numbers = _shingles(text), frozenset(_NUMBER.findall(text))
        seen = {i for bucket in self._buckets_of(shingles) for i in bucket[-BUCKET:]}
        return [
            i for i in sorted(seen) if self._texts[i][1] == numbers and _jaccard(self._texts[i][0], shingles) >= NEAR
        ]

    def _buckets_of(self, shingles: Hashes) -> list[list[int]]:
        signature = (shingles[:SKETCH, None] * _FACTORS + _OFFSETS).min(axis=0).reshape(BANDS, ROWS)
        return [self._buckets.setdefault((i, band.tobytes()), []) for i, band in enumerate(signature)]


def deduplicate(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Leave out every example that asks and answers what an earlier one does, exactly or nearly.

    Passages are not looked at; a twin with another answer (declining, for want of evidence) is no duplicate.

    Returns:
        The examples that stay, and those that go.
    """
    kept: list[Example] = []
    gone: list[Example] = []
    questions, answers = NearTexts(), list[_Answer]()
    exact: set[str] = set()
    for example in examples:
        question, answer = asked_in(example), normalised(example.answer)
        key = digest(f"{question}\n\n{answer}")
        said = (_shingles(answer), frozenset(_NUMBER.findall(answer)), example.expect)
        if key in exact or any(_says_the_same(answers[i], said) for i in questions.find(question)):
            gone.append(example)
            continue
        kept.append(example)
        exact.add(key)
        questions.add(question)
        answers.append(said)
    return kept, gone


def digest(text: str) -> str:
    """A hash of a text, 32 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _says_the_same(one: _Answer, other: _Answer) -> bool:
    return one[1:] == other[1:] and _jaccard(one[0], other[0]) >= NEAR


def _shingles(text: str) -> Hashes:
    """Hashes of all stretches of four characters, sorted, each once."""
    codes = np.frombuffer(f" {text} ".ljust(SHINGLE).encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    hashes = np.lib.stride_tricks.sliding_window_view(codes, SHINGLE) @ _POWERS
    hashes ^= hashes >> np.uint64(31)
    return np.unique(hashes * np.uint64(0xBF58476D1CE4E5B9))


def _jaccard(one: Hashes, other: Hashes) -> float:
    if not NEAR <= len(one) / len(other) <= 1 / NEAR:
        return 0.0
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
