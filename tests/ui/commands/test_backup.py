"""A home as one file and back: everything that was known is known again, and nothing hostile gets in."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from assistant.conversation_list import find_conversation
from assistant.erasure import erase_conversation
from assistant.errors import AssistantError
from knowledge.database import open_engine
from tests import postgres
from tests.absent import absent
from tests.ui.serving import CommandLine
from ui.commands.backup import ABOUT, restore
from ui.commands.dump import can_dump
from ui.console.golden_file import add_golden, golden_file


def test_what_was_known_is_known_again(rungs: CommandLine, pages: Path, tmp_path: Path) -> None:
    rungs("ingest", str(pages))
    asked = rungs.json("ask", "How is a lamp switched on?")
    rungs("examples", "correct", asked["trace_id"], "--text", "Pull it.", "--approve", "--consent")
    rungs("accounts", "create-owner", "ann", stdin="correct horse battery\n")
    (rungs.home / "uploads" / "manual").mkdir(parents=True)
    (rungs.home / "uploads" / "manual" / "lamp.md").write_text("# Lamps")
    add_golden(rungs.home, ["Where is the lever?"], "Behind the foot.", "lamps.md")
    file = tmp_path / "backup.tar"
    told = rungs.json("backup", str(file))
    assert told["bytes"] == file.stat().st_size and told["database"] == "included"

    other = CommandLine(tmp_path / "other")
    done = other.json("restore", str(file))
    assert done["files"] == 3
    assert "Where is the lever?" in golden_file(other.home).read_text()
    assert (other.home / "uploads" / "manual" / "lamp.md").read_text() == "# Lamps"
    assert other.json("sources", "list")["sources"] == rungs.json("sources", "list")["sources"]
    assert other.json("search", "red lever")["results"][0]["document"] == "lamps.md"
    assert other.json("examples", "list")["counts"]["approved"] == 1
    assert other.json("accounts", "list")["accounts"][0]["name"] == "ann"
    assert "already" in other.refused("restore", str(file))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("models/evil.gguf", tarfile.REGTYPE),
        ("adapters/link", tarfile.SYMTYPE),
        ("adapters/hard", tarfile.LNKTYPE),
        ("uploads/pipe", tarfile.FIFOTYPE),
        ("uploads/../../evil", tarfile.REGTYPE),
    ],
)
def test_a_hostile_file_restores_nothing(tmp_path: Path, name: str, kind: bytes) -> None:
    file = tmp_path / "hostile.tar"
    with tarfile.open(file, "w") as tar:
        for member_name, type_ in ((ABOUT, tarfile.REGTYPE), (name, kind)):
            member = tarfile.TarInfo(member_name)
            member.type, member.linkname, member.size = type_, "/etc/passwd", 2 if type_ == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"{}"))
    with pytest.raises(AssistantError):
        restore(tmp_path / "deep" / "home", file)
    assert not list(tmp_path.rglob("evil*"))


def test_restoring_says_that_what_was_erased_since_is_there_again(rungs: CommandLine, tmp_path: Path) -> None:
    asked = rungs.json("ask", "How is a lamp switched on?")
    rungs("backup", str(tmp_path / "backup.tar"))
    engine = open_engine(f"sqlite:///{rungs.home / 'rungs.db'}")
    erase_conversation(engine, asked["conversation_id"])
    engine.dispose()
    other = CommandLine(tmp_path / "other")
    told = other("restore", str(tmp_path / "backup.tar")).stdout
    assert "erased after that is in here again" in told and "rungs retention" in told
    back = open_engine(f"sqlite:///{other.home / 'rungs.db'}")
    assert find_conversation(back, asked["conversation_id"]).turns == 1
    back.dispose()


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\0" * 2000])
def test_what_is_no_backup_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(content)
    with pytest.raises(AssistantError, match="backup"):
        restore(tmp_path / "home", file)


def test_a_backup_that_cannot_be_written_says_so(rungs: CommandLine, tmp_path: Path) -> None:
    assert rungs.refused("backup", str(tmp_path / "no" / "folder" / "x.tar"))


def known(rungs: CommandLine, pages: Path) -> None:
    """Knowledge, a corrected question and an owner."""
    rungs("ingest", str(pages))
    asked = rungs.json("ask", "How is a lamp switched on?")
    rungs("examples", "correct", asked["trace_id"], "--text", "Pull it.", "--approve", "--consent")
    rungs("accounts", "create-owner", "ann", stdin="correct horse battery\n")


def test_a_server_database_is_backed_up_and_restored(
    rungs: CommandLine, postgresql: postgres.Server, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_dump():
        absent("pg_dump", "postgresql-client")
    first, second = (postgresql.make() for _ in range(2))
    one, other = rungs, CommandLine(tmp_path / "other")
    monkeypatch.setenv("RUNGS_DATABASE", first)
    known(one, pages)
    file = tmp_path / "backup.tar"
    assert one.json("backup", str(file))["database"] == "included"
    monkeypatch.delenv("RUNGS_DATABASE")
    assert "setting `database`" in other.refused("restore", str(file))
    monkeypatch.setenv("RUNGS_DATABASE", first)
    assert "holds tables already" in other.refused("restore", str(file))
    monkeypatch.setenv("RUNGS_DATABASE", second)
    other.json("restore", str(file))
    assert not (other.home / "rungs.dump").exists() and not (other.home / "rungs.db").exists()
    held = [one.json(*command) for command in (("sources", "list"), ("accounts", "list"))]
    assert held == [other.json(*command) for command in (("sources", "list"), ("accounts", "list"))]
    assert other.json("search", "red lever")["results"][0]["document"] == "lamps.md"
    monkeypatch.delenv("RUNGS_DATABASE")
    for url in (first, second):
        postgresql.drop(url)


def test_a_home_moves_to_a_server_with_everything(
    rungs: CommandLine, pages: Path, postgresql: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.make()
    known(rungs, pages)
    before = {name: rungs.json(name, "list") for name in ("sources", "examples", "accounts")}
    found = [row["document"] for row in rungs.json("search", "red lever")["results"]]
    assert rungs.json("move-database", url)["rows"] > 10
    assert "not empty" in rungs.refused("move-database", url)
    monkeypatch.setenv("RUNGS_DATABASE", url)
    assert {name: rungs.json(name, "list") for name in before} == before
    assert [row["document"] for row in rungs.json("search", "red lever")["results"]] == found
    rungs("accounts", "add", "ben", "--role", "agent", stdin="correct horse battery\n")
    assert [account["name"] for account in rungs.json("accounts", "list")["accounts"]] == ["ann", "ben"]
    assert rungs.json("ask", "How is a lamp switched on?")["trace_id"]
    assert "unset `database`" in rungs.refused("move-database", url)
    monkeypatch.delenv("RUNGS_DATABASE")
    postgresql.drop(url)
