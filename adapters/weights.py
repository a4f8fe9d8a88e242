"""The base model's weights in the form that training reads: a Hugging Face folder, made of a GGUF file once.

Dequantising takes half a minute and training needs no quantised file, so the result is kept, named by the file's
content. Written aside and renamed, so that it is whole or not there. A folder is taken as it is. Downloads nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from adapters.disk import sync
from adapters.errors import AdapterError

BYTES_PER_GGUF_BYTE = 5
"""Float32 against 8 bits, with room to spare."""


def trainable(source: Path, cache: Path) -> Path:
    """A folder that `AutoModelForCausalLM.from_pretrained` reads.

    Args:
        source: a GGUF file, or a folder that holds safetensors already; a hub model's name is taken as it is, and
            read from what was fetched when it was served.
        cache: where folders made of GGUF files are kept.

    Raises:
        AdapterError: the file cannot be read as a model, or there is no room.
    """
    if not source.is_file():
        return source
    try:
        with source.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()[:20]
        target = cache / name
        if target.is_dir():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        needed, free = source.stat().st_size * BYTES_PER_GGUF_BYTE, shutil.disk_usage(cache).free
        if free < needed:
            raise AdapterError(
                f"the weights to train on need {needed >> 20} MiB in {cache}, and {free >> 20} MiB are free. Make room."
            )
        with tempfile.TemporaryDirectory(prefix=".part-", dir=cache) as part:
            made = Path(part) / name
            _dequantise(source, made)
            made.rename(target)
        sync(cache)
    except OSError as error:
        raise AdapterError(
            f"{source} cannot be made ready for training ({error}). Is there room on the disk?"
        ) from error
    return target


def _dequantise(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise AdapterError(f"{source} cannot be trained on: transformers does not read it ({error}).") from error
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
