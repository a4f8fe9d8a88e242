"""How many tokens a text will be where its tokenizer is not at hand: an estimate that errs upward.

It does not try to be exact. Used by the models that talk to someone else's tokenizer (`served.py`, `langchain.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.types import Message

PIECES = re.compile(r"[A-Za-z]+|[^\S\n]+|[\x00-\x7f]|[^\x00-\x7f]+")
LETTERS_PER_TOKEN = 4
"""Of a longer ASCII word; the first four letters are one token. English words mostly need one token altogether."""
MESSAGE_TOKENS = 8
"""What a chat template writes around one message (ChatML: 5)."""


def clean(text: str) -> str:
    """`text` without what no JSON encoder and no tokenizer takes: NULs go, lone surrogates become question marks."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few: digits, marks and line breaks count one each."""
    tokens = 0
    for match in PIECES.finditer(text):
        piece = match.group()
        if piece[0].isascii() and piece[0].isalpha():
            tokens += -(-len(piece) // LETTERS_PER_TOKEN)
        elif piece.isspace() and piece != "\n":
            # A single space belongs to the word after it, but not to a digit.
            tokens += len(piece) > 1 or text[match.end() : match.end() + 1].isdigit()
        elif piece[0].isascii():
            tokens += 1
        else:
            tokens += -(-len(piece.encode("utf-8", "replace")) * 2 // 3)
    return tokens


def estimate_prompt(messages: Sequence[Message]) -> int:
    """Tokens of a whole prompt, the template's own included."""
    return sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in messages) + MESSAGE_TOKENS
