"""Adapters as files: which one it is by its content, and what the embedded engine wants of it.

A GGUF file is taken as it is, a PEFT folder is exported once. Trains nothing and decides nothing about which adapter is
good. Called by `assistant/models/__init__.py` and `assistant/build.py`.
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
        ModelUnavailable: the weights are missing.
    """
    if adapter.is_file():
        return adapter
    try:
        salt = f"{weights.name} {weights.stat().st_size}"
    except OSError as error:
        raise ModelUnavailable(f"{weights} cannot be read ({error.strerror}). Is the path right?") from error
    fits = _digest(adapter, salt)[:20]
    out = home / "models" / "adapters" / f"{fits}.gguf"
    try:
        read_header(out)
    except ModelUnavailable:
        export(adapter, out, weights)
    return out


def version_of(adapter: Path) -> str:
    """Name and short content hash, like `live@3f2c9a1b5d7e`; the name alone where a server holds the content.

    Raises:
        AdapterError: it is there and cannot be read.
    """
    held_here = adapter.is_file() or (adapter / TENSORS).is_file()
    return f"{adapter.name}@{_digest(adapter)[:12]}" if held_here else adapter.name


def _digest(adapter: Path, salt: str = "") -> str:
    """Changes with the adapter's content, wherever it lies, and with the salt."""
    digest = hashlib.sha256(salt.encode())
    for path in [adapter] if adapter.is_file() else [adapter / CONFIG, adapter / TENSORS]:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise AdapterError(
                f"{adapter} is no adapter ({path.name}: {error.strerror}). It needs {CONFIG} and {TENSORS}, "
                "as PEFT's save_pretrained writes them."
            ) from error
    return digest.hexdigest()
