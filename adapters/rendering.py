"""Examples as rows that a trainer reads: prompt and completion, or prompt, chosen and rejected.

The prompt is what the caller's `render` makes of an example, which must be what serving sends; this file adds no
word. Called by the training recipe and by the export of a training set.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.duplicates import normalised
from adapters.errors import AdapterError
from adapters.types import Count, Example, Message, Render

TOKENS_PER_MESSAGE = 5
"""What a chat template adds to a message, erring upward: start mark, role, line break, end mark, line break."""


def sft_rows(examples: Sequence[Example], render: Render) -> Iterator[dict[str, list[Message]]]:
    """Prompt-completion rows of messages, as `trl.SFTTrainer` reads them: only the completion is learned."""
    for example in examples:
        yield {"prompt": list(render(example)), "completion": _said(example.answer)}


def preference_rows(examples: Sequence[Example], render: Render) -> Iterator[dict[str, list[Message]]]:
    """Rows of the corrected answers, as `trl.DPOTrainer` reads them: the correction is chosen, the draft rejected."""
    for example in examples:
        if is_preference(example):
            chosen, rejected = _said(example.answer), _said(example.rejected)
            yield {"prompt": list(render(example)), "chosen": chosen, "rejected": rejected}


def is_preference(example: Example) -> bool:
    """Whether a draft was corrected into something that says otherwise, not merely in other punctuation."""
    return bool(example.rejected) and normalised(example.rejected) != normalised(example.answer)


def row_tokens(example: Example, render: Render, count: Count) -> int:
    """Tokens of the rendered prompt with the answer, erring upward by a few."""
    texts = [*(message["content"] for message in render(example)), example.answer]
    return sum(count(text) + TOKENS_PER_MESSAGE for text in texts)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSONL; the file appears whole or not at all.

    Returns:
        How many rows were written.

    Raises:
        AdapterError: the file cannot be written.
    """
    number = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                for row in rows:
                    number += 1
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise AdapterError(
            f"{path} cannot be written ({error.strerror or error}). Make room or permit writing, then try again."
        ) from error
    return number


def _said(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]
