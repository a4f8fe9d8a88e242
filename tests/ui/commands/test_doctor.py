"""The doctor names what is wrong and what to do, whatever else is broken, and repairs nothing."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assistant.confidence import Calibration, LevelConfidence, to_json
from assistant.models import weights
from assistant.settings import Settings
from tests import postgres
from tests.chroma import ChromaServer
from tests.ui.serving import CommandLine
from ui.commands.doctor import CHECKS, Check, examine

NAMES = [name for name, *_ in CHECKS]


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_PORT", "0")


def checked(home: Path, **settings: object) -> Mapping[str, Check]:
    checks = list(examine(Settings(home=home, port=0, **settings)))  # type: ignore[arg-type]
    assert [check.name for check in checks] == NAMES, "every check reports, whatever the others found"
    for check in checks:
        assert check.detail and (check.ok or check.fix), check
    return {check.name: check for check in checks}


def sick(checks: Mapping[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if not check.ok}


def calibration(versions: Mapping[str, str]) -> str:
    level = LevelConfidence(("similarity",), (0.0,), (1.0,), (1.0,), 0.0, 0.5, belongs_to=versions)
    return to_json(Calibration({"rag": level}, made_from="a test"))


def test_the_document_is_the_contracts(rungs: CommandLine, free_port: None) -> None:
    document = rungs.json("doctor", status=1)
    assert document.keys() == {"checks"}
    assert [check["name"] for check in document["checks"]] == NAMES
    assert all(check.keys() == {"name", "ok", "detail", "fix"} for check in document["checks"])
    shown = rungs("doctor")
    assert shown.exit_code == 1 and "FAIL  calibration" in shown.stdout and "to do: " in shown.stdout


def test_a_home_in_order_is_found_so(rungs: CommandLine, free_port: None, pages: Path) -> None:
    rungs.json("ingest", str(pages))
    (rungs.home / "calibration.json").write_text(calibration({"embedder": "hash-v1-256"}))
    document = rungs.json("doctor")
    assert all(check["ok"] and not check["fix"] for check in document["checks"])


def test_a_calibration_of_another_embedder_is_named(home: Path) -> None:
    home.mkdir()
    (home / "calibration.json").write_text(calibration({"embedder": "minilm-of-old"}))
    checks = checked(home)
    assert sick(checks) == {"calibration"}
    assert "minilm-of-old" in checks["calibration"].detail and "rungs calibrate" in checks["calibration"].fix


def test_a_damaged_calibration_is_named(home: Path) -> None:
    home.mkdir()
    (home / "calibration.json").write_text("{")
    checks = checked(home)
    assert sick(checks) == {"calibration"} and "calibration.json" in checks["calibration"].detail


def test_a_damaged_database_is_named_and_the_rest_is_still_looked_at(home: Path) -> None:
    home.mkdir()
    (home / "rungs.db").write_bytes(b"this was a database once" * 400)
    before = (home / "rungs.db").read_bytes()
    checks = checked(home)
    assert sick(checks) == {"database", "index", "calibration"}
    assert "rungs.db" in checks["database"].detail and "backup" in checks["database"].fix
    assert checks["index"].detail == "not looked at: database is not in order"
    assert checks["model"].ok and checks["embedder"].ok
    assert (home / "rungs.db").read_bytes() == before


def test_a_database_with_a_torn_page_is_named(rungs: CommandLine, pages: Path) -> None:
    rungs.json("ingest", str(pages))
    file = rungs.home / "rungs.db"
    content = bytearray(file.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    file.write_bytes(content)
    assert not checked(rungs.home)["database"].ok


def test_a_home_that_is_none_is_named_even_though_nothing_can_be_built(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    checks = checked(tmp_path / "home", model="scripted", embedder="hash")
    assert {"home", "database", "index", "calibration"} == sick(checks) - {"port"}
    assert "--home" in checks["home"].fix
    document = CommandLine(tmp_path / "home").json("doctor", status=1)
    assert [check["name"] for check in document["checks"]] == NAMES


def test_too_little_room_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.commands.doctor.FREE_BYTES_LEAST", 1 << 60)
    checks = checked(home)
    assert not checks["home"].ok and "free at least" in checks["home"].fix


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        checks = {check.name: check for check in examine(Settings(home=home, port=port))}
    assert not checks["port"].ok and str(port) in checks["port"].detail and "--port" in checks["port"].fix


def test_an_index_of_another_embedder_is_named(
    rungs: CommandLine, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs.json("ingest", str(pages))
    monkeypatch.setattr("knowledge.embedding.HashEmbedder.fingerprint", "hash-v2")
    checks = checked(rungs.home)
    assert not checks["index"].ok and "rungs reindex" in checks["index"].fix


def test_weights_that_are_not_there_yet_are_not_made_by_looking(home: Path) -> None:
    checks = checked(home, model="embedded")
    assert not checks["weights"].ok and "rungs prepare" in checks["weights"].detail + checks["weights"].fix
    assert not checks["model"].ok and "weights" in checks["model"].detail
    assert not (home / "models").exists()


def test_weights_that_were_changed_are_found_by_their_hash(home: Path) -> None:
    folder = home / "models"
    folder.mkdir(parents=True)
    (folder / weights.PREPARED).write_bytes(b"GGUF" + b"\0" * 1000)
    weights._record(folder / weights.PREPARED, "0" * 64)
    check = checked(home, model="embedded")["weights"]
    assert not check.ok and ("truncated or changed" in check.detail or "not installed" in check.detail)
    assert (folder / weights.PREPARED).read_bytes() == b"GGUF" + b"\0" * 1000


def test_a_model_file_that_is_none_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"<html>")
    check = checked(home, model="embedded", model_file=tmp_path / "model.gguf")["weights"]
    assert not check.ok and "model.gguf" in check.detail


def test_a_server_that_is_not_there_is_named(home: Path) -> None:
    checks = checked(home, model="served", model_url="http://127.0.0.1:9/v1", model_name="m", connect_seconds=0.5)
    assert not checks["model"].ok and "127.0.0.1:9" in checks["model"].detail


def test_an_unexpected_error_of_a_library_is_a_finding_with_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            raise RuntimeError("the library fell over")

    monkeypatch.setattr("assistant.build.KnowledgeStore", Broken)
    checks = checked(home)
    assert sick(checks) == {"index", "calibration"}
    assert checks["index"].detail == "RuntimeError: the library fell over" and "fell over" in caplog.text


def test_a_missing_package_is_named_with_what_to_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ui.commands.doctor._requirements", lambda: ["rich>=1000", "unheard-of-package", "alembic; extra == 'x'"]
    )
    check = checked(home)["packages"]
    assert (
        "unheard-of-package is missing" in check.detail and "rich is" in check.detail and "alembic" not in check.detail
    )
    assert "make setup" in check.fix


def test_every_part_that_was_opened_is_closed(home: Path, pages: Path, rungs: CommandLine) -> None:
    rungs.json("ingest", str(pages))
    checks: Iterator[Check] = examine(Settings(home=home, port=0))
    next(checks)
    list(checks)
    assert rungs.json("search", "lamp")["results"]


@pytest.mark.engine
def test_the_real_embedded_model_is_found_in_order(prepared_home: Path, home: Path, weights: Path) -> None:
    home.mkdir()
    (home / "models").symlink_to(prepared_home / "models")
    checks = checked(home, model="embedded", embedder="minilm")
    assert sick(checks) <= {"calibration"}
    assert "hash is right" in checks["weights"].detail and "answers" in checks["model"].detail


def test_a_server_database_and_a_chroma_server_are_looked_at(
    home: Path, postgresql: postgres.Server, chroma_of_session: ChromaServer
) -> None:
    url = postgresql.make()
    checks = checked(home, database=url, chroma=chroma_of_session.url)
    assert sick(checks) == {"calibration"}
    assert "PostgreSQL database" in checks["database"].detail and "UTF8" in checks["database"].detail
    assert "answers, version" in checks["chroma"].detail
    postgresql.drop(url)


def test_servers_that_are_not_there_are_named_without_their_secrets(home: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: nobody else's, and refused
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        database = f"postgresql://rungs:s3cret@{place}/rungs"
        checks = checked(home, database=database, chroma=f"http://{place}", chroma_key="t0ken")
    assert {"database", "chroma", "index"} <= sick(checks)
    assert "cannot be reached" in checks["database"].detail and "does not answer" in checks["chroma"].detail
    assert "s3cret" not in str(checks) and "t0ken" not in str(checks)


def test_a_database_that_cannot_store_every_letter_is_named(home: Path, postgresql: postgres.Server) -> None:
    postgresql.execute("CREATE DATABASE latin ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    checks = checked(home, database=postgresql.url("latin"))
    assert not checks["database"].ok and "UTF8" in checks["database"].fix
    postgresql.execute("DROP DATABASE latin WITH (FORCE)")
