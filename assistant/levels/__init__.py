"""The rungs, one file each. To add one: a new file, and one line in LEVELS, whose order is that of the climb."""

from __future__ import annotations

from collections.abc import Callable

from assistant.levels.judging import Bench
from assistant.types import TransferLevel


def _prompting(bench: Bench) -> TransferLevel:
    from assistant.levels.prompting import Prompting

    return Prompting(bench)


def _rag(bench: Bench) -> TransferLevel:
    from assistant.levels.rag import Rag

    return Rag(bench)


def _lora(bench: Bench) -> TransferLevel:
    from assistant.levels.lora import Lora

    return Lora(bench)


LEVELS: tuple[Callable[[Bench], TransferLevel], ...] = (_prompting, _rag, _lora)
