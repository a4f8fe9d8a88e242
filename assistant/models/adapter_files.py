"""Adapters as the embedded engine wants them: a GGUF file is taken as it is, a PEFT folder is exported once.

Trains nothing and decides nothing about which adapter is good. Called by `assistant/models/__init__.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters.errors import AdapterError
from adapters.export import CONFIG, TENSORS, export
from assistant.errors import ModelUnavailable
from assistant.models.gguf_header import read_header


def as_gguf(adapter: Path, weights: Path, home: Path) -> Path:
    """The GGUF file of `adapter`, made under `home` if it is a PEFT folder that was not exported for these weights yet.

    Raises:
        AdapterError: the adapter is missing, hostile, or does not fit the weights.
    """
    if adapter.is_file():
        return adapter
    out = home / "models" / "adapters" / f"{_digest(adapter, weights)}.gguf"
    try:
        read_header(out)
    except ModelUnavailable:
        export(adapter, out, weights)
    return out


def _digest(folder: Path, weights: Path) -> str:
    """Changes with the adapter and with the weights it is to fit."""
    digest = hashlib.sha256(f"{weights.name} {weights.stat().st_size}".encode())
    for name in (CONFIG, TENSORS):
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise AdapterError(
                f"{folder} is no adapter ({name}: {error.strerror}). It needs {CONFIG} and {TENSORS}, "
                "as PEFT's save_pretrained writes them."
            ) from error
    return digest.hexdigest()[:20]
