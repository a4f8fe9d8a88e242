"""Checkpoints that are whole or not used: written aside, hashed, synced, renamed; verified before they are read.

No pickle: tensors lie in safetensors files, everything else in JSON. Used by the training recipe.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.disk import sync

MANIFEST = "manifest.json"
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{1,12})")


@contextmanager
def making(folder: Path, step: int) -> Iterator[Path]:
    """A folder to write a checkpoint's files to; it becomes `checkpoint-STEP` once the block ends well.

    Older checkpoints are removed then, except for the newest `KEPT`.

    Raises:
        OSError: no room, or the folder cannot be written; earlier checkpoints are untouched.
    """
    part, target = folder / f".part-{step}", folder / f"checkpoint-{step}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        hashes = {}
        for path in sorted(part.iterdir()):
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
        with (part / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(hashes, file)
            file.flush()
            os.fsync(file.fileno())
        sync(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        sync(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for _, old in _found(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The latest checkpoint whose files are those that were written; damaged ones are passed over."""
    return next((path for _, path in reversed(_found(folder)) if verifies(path)), None)


def verifies(path: Path) -> bool:
    """Whether a checkpoint's files have the hashes that were recorded."""
    try:
        hashes = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        return bool(hashes) and all(_hash(path / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _found(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
