"""Settings: flags, then environment, then rungs.toml, then defaults; every mistake named, all of them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from assistant.errors import BadSettings
from assistant.settings import SETTINGS_FILE, Settings, origins_of, read_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a settings file, an environment without a setting."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("RUNGS_")]:
        monkeypatch.delenv(name)


def write(text: str | bytes) -> None:
    SETTINGS_FILE.write_bytes(text.encode() if isinstance(text, str) else text)


def test_with_nothing_set_everything_works_on_one_machine_offline() -> None:
    settings = read_settings()
    assert (settings.home, settings.host, settings.port) == (Path(".rungs"), "127.0.0.1", 7860)
    assert (settings.model, settings.embedder, settings.demo) == ("embedded", "minilm", True)
    assert settings.adapter is None and settings.model_file is None and settings.model_url == ""


def test_each_source_gives_way_to_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write('port = 7001\nmodel = "served"\npassages = 3\n')
    assert (read_settings().port, read_settings().model) == (7001, "served")
    monkeypatch.setenv("RUNGS_PORT", "7002")
    monkeypatch.setenv("RUNGS_MODEL", "scripted")
    assert (read_settings().port, read_settings().model) == (7002, "scripted")
    settings = read_settings(port=7003)
    assert (settings.port, settings.model, settings.passages) == (7003, "scripted", 3)


def test_a_flag_that_was_not_given_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_PORT", "7002")
    write('host = "127.0.0.2"\n')
    settings = read_settings(port=None, host=None, demo=False)
    assert (settings.port, settings.host, settings.demo) == (7002, "127.0.0.2", False)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_can_come_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings.model_fields[name].default
    values = {"demo": "false", "model": "scripted", "rag_answers_by": "quoting", "connect_seconds": "7.5"}
    values |= {"adapters": '{"docs": "manual"}', "hosts": '["support.example.com"]'}
    values |= {"person_topics": '["refund"]'}
    values |= {"proxies": '["10.0.0.1"]', "languages": '["en"]', "webhook_private": "true", "anonymous_chat": "false"}
    values |= {"oidc_roles": '{"staff": "agent"}'}
    if name == "oidc_issuer":
        pytest.skip("it needs a client beside it: tests/ui/access/test_oidc.py")
    values |= {"log": "json", "log_level": "warning", "log_text": "true", "otel": "http://collector:4318"}
    values |= {"internal_sources": '["staff"]'}
    text = values.get(name) or ("777" if isinstance(default, (int, float)) else "elsewhere")
    monkeypatch.setenv(f"RUNGS_{name.upper()}", "33" if name in ("slots", "passages") else text)
    settings = read_settings()
    assert getattr(settings, name) != default
    assert settings.model_dump(exclude_defaults=True).keys() == {name}


def test_a_mapping_that_is_no_json_is_said_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_ADAPTERS", "docs=manual")
    with pytest.raises(BadSettings, match=r'RUNGS_ADAPTERS.*JSON.*\{"default": "house"\}'):
        read_settings()
    monkeypatch.setenv("RUNGS_ADAPTERS", '["docs"]')
    with pytest.raises(BadSettings, match="adapters"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "eighty"),
        ("port", "70000"),
        ("port", ""),
        ("model", "gpt"),
        ("slots", "0"),
        ("slots", "65"),
        ("context_tokens", "10"),
        ("connect_seconds", "0"),
        ("total_seconds", "nan"),
        ("demo", "perhaps"),
        ("passages", "2.5"),
        ("rag_answers_by", "guessing"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_setting(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RUNGS_{name.upper()}", text)
    with pytest.raises(BadSettings, match=rf"^settings: {name}: \w"):
        read_settings()


def test_what_is_allowed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_MODEL", "gpt")
    with pytest.raises(BadSettings, match=r"embedded.*served.*local.*scripted"):
        read_settings()


def test_all_mistakes_are_told_together_and_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    write('port = -1\nmodle = "served"\n')
    monkeypatch.setenv("RUNGS_SLOTS", "none")
    with pytest.raises(BadSettings) as refused:
        read_settings(passages=99)
    message = str(refused.value)
    assert all(name in message for name in ("port", "modle", "slots", "passages")) and "\n" not in message


@pytest.mark.parametrize("text", ['modle = "served"\n', "[modle]\nport = 1\n"])
def test_an_unknown_key_in_the_file_is_named_with_where_the_known_ones_stand(text: str) -> None:
    write(text)
    with pytest.raises(BadSettings, match=r"modle: there is no such setting.*rungs\.example\.toml"):
        read_settings()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"port = = 3\n", r"rungs\.toml is not valid TOML.*line 1.*Mend"),
        (b'port = 7001\nmodel_name = "caf\n', r"rungs\.toml is not valid TOML.*line 2"),
        (b'model_name = "caf\xe9"\n', r"rungs\.toml cannot be read.*UTF-8"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(content: bytes, told: str) -> None:
    write(content)
    with pytest.raises(BadSettings, match=told):
        read_settings()


def test_the_example_file_uncommented_whole_changes_nothing() -> None:
    lines = (ROOT / "rungs.example.toml").read_text().splitlines()
    write("\n".join(line.removeprefix("# ") for line in lines if " = " in line))
    assert read_settings().model_dump(exclude_defaults=True) == {}


def test_a_key_of_a_server_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_MODEL_KEY", "sk-very-secret")
    settings = read_settings()
    assert settings.model_key == "sk-very-secret" and "secret" not in f"{settings} {settings!r}"
    monkeypatch.setenv("RUNGS_PORT", "x")
    with pytest.raises(BadSettings) as refused:
        read_settings()
    assert "secret" not in str(refused.value)


def test_settings_do_not_change_once_they_are_read() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_the_database_lies_under_home_unless_it_is_named(tmp_path: Path) -> None:
    assert read_settings(home=Path("here")).database_url == f"sqlite:///{tmp_path / 'here' / 'rungs.db'}"
    assert read_settings(database="postgresql://db/rungs").database_url == "postgresql://db/rungs"


def test_every_setting_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 7001\npassages = 3\nslots = 3\n")
    monkeypatch.setenv("RUNGS_PASSAGES", "4")
    monkeypatch.setenv("RUNGS_HOSTS", '["support.example.com"]')
    settings = read_settings(slots=5, host="::1")
    origins = origins_of(settings)
    assert set(origins) == set(Settings.model_fields)
    assert {name: origin for name, origin in origins.items() if origin != "default"} == {
        "port": "rungs.toml",
        "passages": "environment",
        "hosts": "environment",
        "slots": "flag",
        "host": "flag",
    }
