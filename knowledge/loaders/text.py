"""Plain text in any encoding, as one section.

Guesses no structure from capitals or underlines. Called through `LOADERS`.
"""

from __future__ import annotations

from pathlib import Path

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import tidy
from knowledge.loaders.markdown import title_from_name
from knowledge.loaders.reading import read_text
from knowledge.types import Document, Section


class TextLoader:
    """Plain text."""

    suffixes: tuple[str, ...] = (".txt", ".text", ".log")

    def load(self, path: Path) -> Document:
        """Read the file.

        Raises:
            UnreadableDocument: it holds no text.
        """
        text = tidy(read_text(path))
        if not text:
            raise UnreadableDocument(f"{path.name}: holds no text.")
        return Document(title_from_name(path.name), (Section(text),))
