"""One adapter as one file: the same bytes each time, read only as it was written, and never more than it says."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.bundle import unpack
from adapters.errors import AdapterError
from tests.adapters import hostile
from tests.adapters.samples import ACCEPTED, REFUSED, adapter, added, card, registry

NAMES = ("card.json", "adapter_config.json", "adapter_model.safetensors")


def exported(path: Path) -> Path:
    return registry(path).export_file("support", added(path, gate=ACCEPTED), path / "support.zip")


def rezipped(
    path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], method: int = zipfile.ZIP_STORED
) -> Path:
    """What another program would make of an exported file."""
    with zipfile.ZipFile(exported(path)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path / "other.zip", "w") as archive:
        for name, content in change(members).items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path / "other.zip"


def forged(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Path:
    """A file of the right layout with other content: what somebody makes who has read `bundle.py`."""
    from adapters.bundle import pack

    with zipfile.ZipFile(exported(path)) as archive:
        members = change({name: archive.read(name) for name in archive.namelist()})
    folder = path / "forged"
    folder.mkdir()
    for name in NAMES[1:]:
        (folder / name).write_bytes(members[name])
    return pack(folder, members["card.json"], path / "forged.zip")


def test_what_is_exported_comes_in_elsewhere_as_a_candidate(tmp_path: Path) -> None:
    file = exported(tmp_path)
    made = registry(tmp_path / "b").import_file(file)
    there = registry(tmp_path).show("support", made.revision)
    assert (made.stage, made.gate, made.gate_elsewhere) == ("candidate", None, ACCEPTED)
    assert replace(made, gate=ACCEPTED, gate_elsewhere=None) == there
    one, two = (
        registry(tmp_path).load("support", made.revision),
        registry(tmp_path / "b").load("support", made.revision),
    )
    for name in NAMES[1:]:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_an_export_is_the_same_byte_for_byte_whoever_exports_it_and_whatever_happened(tmp_path: Path) -> None:
    first = exported(tmp_path).read_bytes()
    revision = registry(tmp_path).list().cards[0].revision
    registry(tmp_path).promote("support", revision, "Ada", "a secret of the house")
    assert registry(tmp_path).export_file("support", revision, tmp_path / "again.zip").read_bytes() == first
    registry(tmp_path / "b").import_file(tmp_path / "again.zip")
    there = registry(tmp_path / "b").export_file("support", revision, tmp_path / "there.zip")
    assert there.read_bytes() == first
    assert b"Ada" not in first and b"secret" not in there.read_bytes()


def test_any_unzip_program_reads_an_export(tmp_path: Path) -> None:
    with zipfile.ZipFile(exported(tmp_path)) as archive:
        assert archive.testzip() is None
        assert tuple(archive.namelist()) == NAMES
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100600}
        assert json.loads(archive.read("card.json"))["gate"]["verdict"] == "accept"


def test_the_report_of_another_gate_does_not_open_ours(tmp_path: Path) -> None:
    file = exported(tmp_path)
    made = registry(tmp_path / "b").import_file(file, "theirs")
    assert made.name == "theirs"
    with pytest.raises(AdapterError, match="not gated here"):
        registry(tmp_path / "b").promote("theirs", made.revision, "Ada")
    shipped = registry(tmp_path / "c").import_file(file, trust_gate=True)
    assert registry(tmp_path / "c").promote("support", shipped.revision, "Ada").stage == "live"


def test_importing_twice_leaves_what_is_there(tmp_path: Path) -> None:
    file = exported(tmp_path)
    revision = registry(tmp_path / "b").import_file(file).revision
    registry(tmp_path / "b").record_gate("support", revision, REFUSED)
    assert registry(tmp_path / "b").import_file(file).gate == REFUSED
    assert len(registry(tmp_path / "b").list().cards) == 1


def flag(bit: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:6] + struct.pack("<H", bit) + raw[8:]


def renamed(name: bytes) -> Callable[[bytes], bytes]:
    """Another name of the same length, in the header and in the list of members."""
    assert len(name) == len(NAMES[1])

    def change(raw: bytes) -> bytes:
        behind_card = raw.index(b"PK\3\4", 4)
        return raw[:behind_card] + raw[behind_card:].replace(NAMES[1].encode(), name)

    return change


def entry(place: int, value: bytes) -> Callable[[bytes], bytes]:
    """Change a field of the first entry in the list of members."""

    def change(raw: bytes) -> bytes:
        at = raw.index(b"PK\1\2") + place
        return raw[:at] + value + raw[at + len(value) :]

    return change


def comment(raw: bytes) -> bytes:
    return raw[:-2] + struct.pack("<H", 4) + b"evil"


def prefixed(raw: bytes) -> bytes:
    return b"#!/bin/sh\nrm -rf ~\n" + raw


def second_archive(raw: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("evil.py", "import os")
    return raw + made.getvalue()


RAW: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", "no member"),
    "no archive": (lambda raw: b"\x80\x04" + raw, "no member"),
    "cut in a header": (lambda raw: raw[:20], "no member"),
    "cut in the card": (lambda raw: raw[:200], "cut or changed"),
    "cut in the tensors": (lambda raw: raw[:-5000], "cut or changed"),
    "cut in the list of members": (lambda raw: raw[:-30], "list"),
    "cut by one byte": (lambda raw: raw[:-1], "list"),
    "a byte too many": (lambda raw: raw + b"\0", "list"),
    "something before it": (prefixed, "no member"),
    "a second archive behind it": (second_archive, "list"),
    "a comment": (comment, "list"),
    "encrypted": (flag(1), "encrypted"),
    "strongly encrypted": (flag(65), "encrypted"),
    "sizes behind the data": (flag(8), "says more"),
    "compressed": (lambda raw: raw[:8] + struct.pack("<H", 8) + raw[10:], "compressed"),
    "a bomb by its sizes": (lambda raw: raw[:22] + struct.pack("<I", 0xFFFFFFFF) + raw[26:], "compressed"),
    "a card of gigabytes": (lambda raw: raw[:18] + struct.pack("<II", 1 << 31, 1 << 31) + raw[26:], "refused unread"),
    "a wrong checksum": (lambda raw: raw[:14] + b"\0\0\0\0" + raw[18:], "checksum"),
    "a date": (lambda raw: raw[:12] + b"\1\1" + raw[14:], "says more"),
    "a name of 64 kB": (lambda raw: raw[:26] + b"\xff\xff" + raw[28:], "where card.json must be"),
    "an absolute path": (renamed(b"/etc/cron.d/evil_00"), "'/etc/cron.d/evil_00'"),
    "a path upwards": (renamed(b"../../../.bashrc_00"), "where adapter_config.json must be"),
    "a path of Windows": (renamed(b"C:\\evil\\adapter.json"[:19]), "where adapter_config.json must be"),
    "a name that is no text": (renamed(b"\xff" * 19), "where adapter_config.json must be"),
    "a module": (renamed(b"modeling_adapter.py"), "modeling_adapter.py"),
    "a member twice": (renamed(b"card.json\0\0\0\0\0\0\0\0\0\0"), "where adapter_config.json must be"),
    "a link": (entry(38, struct.pack("<I", 0o120777 << 16)), "list"),
    "another name in the list": (entry(46, b"evil."), "list"),
    "another place in the list": (entry(42, struct.pack("<I", 99)), "list"),
    "an entry's comment": (entry(32, b"\1\0"), "list"),
}


@pytest.mark.parametrize("kind", RAW)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, kind: str) -> None:
    change, says = RAW[kind]
    file = exported(tmp_path)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(AdapterError, match=says) as refusal:
        registry(tmp_path / "b").import_file(file)
    assert str(refusal.value).isprintable()
    assert {path.name for path in (tmp_path / "b" / "home" / "adapters").iterdir()} <= {".lock"}
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda members: {**members, "evil.py": b"x"}, "list|says more"),
        (lambda members: {"evil.py": b"x", **members}, "where card.json must be"),
        (lambda members: {"../card.json": members["card.json"]}, "where card.json must be"),
        (lambda members: dict(reversed(members.items())), "where card.json must be"),
        (lambda members: {"card.json": members["card.json"]}, "no member|says more"),
        (lambda members: {}, "no member"),
    ],
)
def test_an_archive_of_other_members_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], says: str
) -> None:
    with pytest.raises(AdapterError, match=says):
        registry(tmp_path / "b").import_file(rezipped(tmp_path, change))


def test_a_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    file = rezipped(tmp_path, lambda members: {"card.json": bytes(100_000_000)}, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 200_000
    with pytest.raises(AdapterError, match="compressed"):
        registry(tmp_path / "b").import_file(file)


@pytest.mark.parametrize("kind", [kind for kind in hostile.KINDS if not kind.startswith("file:")][::3])
def test_a_hostile_adapter_in_a_good_file_is_refused(tmp_path: Path, kind: str) -> None:
    damage, _ = hostile.KINDS[kind]
    folder = adapter(tmp_path / "hostile")
    damage(folder)
    read = {name: (folder / name).read_bytes() for name in NAMES[1:]}
    with pytest.raises(AdapterError):
        registry(tmp_path / "b").import_file(forged(tmp_path, lambda members: {**members, **read}))
    assert registry(tmp_path / "b").list().cards == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": {}}, "pins no files"),
        ({"revision": ""}, "pins no files"),
        ({"revision": "../../../evil"}, "not those"),
        ({"revision": "0123456789ab"}, "not those"),
        ({"files": {"adapter_config.json": "0" * 64, "adapter_model.safetensors": "0" * 64}}, "not those"),
        ({"files": {"/etc/passwd": "0" * 64}}, "not those"),
        ({"name": "../evil"}, "no name"),
        ({"name": "none"}, "no name"),
        ({"base_hash": "f" * 64}, "this deployment runs tiny"),
        ({"settings": {"rank": 8, "alpha": 8, "targets": [], "learning_rate": 1, "epochs": 1, "seed": 1}}, "rank 8"),
        ({"stage": "live"}, "registry alone"),
        ({"history": []}, "registry alone"),
        ({"promoted_by": "Ada"}, "registry alone"),
        ({"gate": {"verdict": "accept", "reasons": ["x"], "checks": []}}, "nothing was checked"),
    ],
)
def test_a_card_that_lies_is_refused(tmp_path: Path, change: dict[str, object], says: str) -> None:
    def lie(members: dict[str, bytes]) -> dict[str, bytes]:
        return {**members, "card.json": json.dumps({**json.loads(members["card.json"]), **change}).encode()}

    with pytest.raises(AdapterError, match=says):
        registry(tmp_path / "b").import_file(forged(tmp_path, lie))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(tmp_path: Path, share: float, bit: int) -> None:
    file = tmp_path / "support.zip"
    if not file.exists():
        exported(tmp_path)
        file.rename(tmp_path / "good.zip")
    raw = bytearray((tmp_path / "good.zip").read_bytes())
    raw[int(share * len(raw))] ^= 1 << bit
    file.write_bytes(bytes(raw))
    with pytest.raises(AdapterError):
        registry(tmp_path / "b").import_file(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(AdapterError, match="is no file"):
            registry(tmp_path).import_file(path)


def test_tensors_beyond_what_the_base_model_can_take_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="refused unread"):
        unpack(exported(tmp_path), tmp_path / "home", 1000)


def test_a_damaged_adapter_is_not_exported_and_a_file_that_was_there_stays(tmp_path: Path) -> None:
    file = exported(tmp_path)
    revision = registry(tmp_path).list().cards[0].revision
    before = file.read_bytes()
    tensors = tmp_path / "home" / "adapters" / "support" / revision / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(AdapterError, match="damaged or exchanged"):
        registry(tmp_path).export_file("support", revision, file)
    assert file.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".support")]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    revision = added(tmp_path, 1)
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(AdapterError, match="cannot be written"):
        registry(tmp_path).export_file("support", revision, tmp_path / "blocked" / "out.zip")


def test_a_card_keeps_its_name_unless_another_is_given(tmp_path: Path) -> None:
    assert registry(tmp_path / "b").import_file(exported(tmp_path)).name == card().name
    with pytest.raises(AdapterError, match="no name"):
        registry(tmp_path / "b").import_file(tmp_path / "support.zip", "")
