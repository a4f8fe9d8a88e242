"""Text made safe for everything it will pass through. Changes nothing else. Called at the room's edges."""

from __future__ import annotations


def clean(text: str) -> str:
    """Text that every database and tokenizer takes: NUL becomes a space, a lone surrogate becomes U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", " ").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
