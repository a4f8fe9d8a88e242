"""Messages to token ids, such that no message can break out of its place in the chat template.

The template is the model's own. Its marks (`<|im_start|>`, ...) become control tokens; what people and documents wrote
is tokenised apart from it and never does, whatever it says. Used by `embedded.py`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

from assistant.models.engine import Engine
from assistant.models.gguf_header import GgufHeader
from assistant.types import Message

ORDINARY_KINDS = frozenset({1, 5, 6})
"""`tokenizer.ggml.token_type`: normal, unused, byte. The others (unknown, control, user-defined) are marks."""
CACHED_TEXTS = 4096
CACHED_CHARACTERS_MAX = 20_000


def clean(text: str) -> str:
    """`text` without what no tokenizer takes: NULs go, lone surrogates become question marks."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


class ChatTokens:
    """The prompts of one engine. Thread-safe."""

    def __init__(self, engine: Engine, header: GgufHeader) -> None:
        self._engine = engine
        self._bos = header.number("tokenizer.ggml.bos_token_id", -1)
        self.end = header.number("tokenizer.ggml.eos_token_id", -1)
        """The token that ends a message; -1 where the model names none."""
        self._marks = _marks(header)
        self._word = f"PLACE{secrets.token_hex(8)}"
        self._short = lru_cache(CACHED_TEXTS)(self._content)
        self._shape = lru_cache(64)(self._template)

    def of(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the whole prompt, up to where the model's reply begins."""
        pieces = self._shape(tuple(message.role for message in messages))
        ids: list[int] = []
        for piece in pieces:
            ids.extend(piece if isinstance(piece, tuple) else self.content(messages[piece].content))
        return ids

    def content(self, text: str) -> tuple[int, ...]:
        """Token ids of other people's text."""
        text = clean(text)
        return self._short(text) if len(text) <= CACHED_CHARACTERS_MAX else self._content(text)

    def _content(self, text: str) -> tuple[int, ...]:
        ids = self._engine.tokenise(text) if text else ()
        if self._marks and any(mark in text for mark in self._marks) and set(self._marks.values()) & set(ids):
            return self._apart(text)  # this model's marks are ordinary words to its tokenizer: break them in two
        return ids

    def _apart(self, text: str) -> tuple[int, ...]:
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, sorted(self._marks, key=len, reverse=True)))})", text):
            halves = (part[:1], part[1:]) if part in self._marks else (part,)
            ids.extend(token for half in halves if half for token in self._engine.tokenise(half))
        return tuple(ids)

    def _template(self, roles: tuple[str, ...]) -> tuple[tuple[int, ...] | int, ...]:
        """The template for these roles: token ids where it speaks, a message's index where that one does."""
        rendered = self._engine.render(
            [{"role": role, "content": f"{self._word}N{index}E"} for index, role in enumerate(roles)]
        )
        pieces: list[tuple[int, ...] | int] = []
        for position, part in enumerate(re.split(f"{self._word}N(\\d+)E", rendered)):
            if position % 2:
                pieces.append(int(part))
            elif part or position == 0:
                pieces.append(self._engine.tokenise(part, special=True, begin=position == 0))
        first = pieces[0]
        if isinstance(first, tuple) and first[:2] == (self._bos, self._bos):
            pieces[0] = first[1:]  # the template wrote the opening token as well
        return tuple(pieces)


def _marks(header: GgufHeader) -> dict[str, int]:
    """Text and id of every token that is a mark; single characters and runs of white space are none."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    kinds = header.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(kinds, list):
        return {}
    return {
        token: number
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=False))
        if kind not in ORDINARY_KINDS and len(token.strip(" \n\t▁Ġ")) > 2
    }
