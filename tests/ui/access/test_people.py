"""Accounts, sessions and keys: nobody gets in where they do not belong, and secrets are nowhere on disk."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine, text

from assistant.errors import AssistantError
from tests.ui.serving import CommandLine
from ui.access import people as module
from ui.access.people import People

GOOD = "correct horse battery"


@pytest.fixture
def engine(engine_of_each: Engine) -> Engine:
    return engine_of_each


@pytest.fixture
def people(engine: Engine) -> People:
    people = People(engine)
    people.add("Ann", "owner", GOOD)
    return people


def test_the_first_account_is_an_owners(engine: Engine) -> None:
    people = People(engine)
    assert not people.any and people.accounts() == ()
    with pytest.raises(AssistantError, match="first account must be an owner"):
        people.add("ben", "agent", GOOD)
    people.add("Ann", "owner", GOOD)
    assert people.any
    assert [(account.name, account.role) for account in people.accounts()] == [("ann", "owner")]


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "<b>", "ä", "x" * 65, "a\0b", "a\nb"])
def test_a_name_that_is_none_is_refused(people: People, name: str) -> None:
    with pytest.raises(AssistantError, match="no name for an account"):
        people.add(name, "agent", GOOD)


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_a_password_that_will_not_do_is_refused(people: People, password: str) -> None:
    with pytest.raises(AssistantError, match="10 to 1000 characters"):
        people.add("ben", "agent", password)
    assert len(people.accounts()) == 1


def test_a_name_is_taken_once(people: People) -> None:
    with pytest.raises(AssistantError, match="already"):
        people.add("ANN", "agent", GOOD)


def test_the_right_password_opens_a_session_until_it_ends(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = people.log_in(" Ann ", GOOD)
    assert secret
    found = people.who(secret)
    assert found and (found.name, found.role) == ("ann", "owner")
    people.log_out(secret)
    assert people.who(secret) is None
    secret = people.log_in("ann", GOOD) or ""
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + module.SESSION_SECONDS + 1)
    assert people.who(secret) is None


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "wrong horse battery"), ("nobody", GOOD), ("", ""), ("ann", "")]
)
def test_a_wrong_password_opens_nothing(people: People, name: str, password: str) -> None:
    assert people.log_in(name, password) is None


@pytest.mark.parametrize("secret", ["", "x", "\0", "ä" * 100, "' OR 1=1 --"])
def test_a_made_up_session_is_nobodys(people: People, secret: str) -> None:
    assert people.who(secret) is None
    assert people.key_of(secret) is None


def test_a_changed_password_ends_every_session(people: People) -> None:
    secret = people.log_in("ann", GOOD) or ""
    people.set_password("ann", "another good one")
    assert people.who(secret) is None
    assert people.log_in("ann", GOOD) is None
    assert people.log_in("ann", "another good one")


def test_the_last_owner_stays(people: People) -> None:
    people.add("ben", "agent", GOOD)
    secret = people.log_in("ben", GOOD) or ""
    with pytest.raises(AssistantError, match="last owner"):
        people.remove("ann")
    people.remove("ben")
    assert people.who(secret) is None
    with pytest.raises(AssistantError, match="no account"):
        people.remove("ben")


def test_a_role_changes_from_the_next_request_on_and_an_owner_stays(people: People) -> None:
    people.add("ben", "agent", GOOD)
    secret = people.log_in("ben", GOOD) or ""
    with pytest.raises(AssistantError, match="last owner"):
        people.set_role("ann", "agent")
    people.set_role("ben", "owner")
    found = people.who(secret)
    assert found and found.role == "owner"
    people.set_role("ann", "user")
    with pytest.raises(AssistantError, match="last owner"):
        people.set_role("ben", "user")
    with pytest.raises(AssistantError, match="no account"):
        people.set_role("eve", "owner")
    with pytest.raises(AssistantError, match="no role"):
        people.set_role("ann", "visitor")


def test_a_key_opens_what_it_is_for_until_it_is_revoked(people: People) -> None:
    key, secret = people.add_key(" Open  WebUI ", ["ask", "ask"], "ann")
    assert (key.name, key.scopes) == ("Open WebUI", ("ask",))
    assert people.key_of(secret) == key and people.all_keys() == (key,)
    people.revoke(key.id)
    assert people.key_of(secret) is None
    for scopes, name in ((["everything"], "x"), ([], "x"), (["ask"], "  ")):
        with pytest.raises(AssistantError):
            people.add_key(name, scopes, "ann")  # type: ignore[arg-type]


def test_no_secret_is_on_disk(people: People, engine: Engine) -> None:
    session = people.log_in("ann", GOOD) or "-"
    _, key = people.add_key("x", ["ask"], "ann")
    with engine.connect() as connection:
        told = "".join(
            str(connection.execute(text(f"SELECT * FROM {table}")).all()) for table in ("accounts", "sessions", "keys")
        )
    for secret in (GOOD, session, key, key.removeprefix("rk-")):
        assert secret not in told
    assert "argon2id" in told


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from ui.access.people_tables import METADATA

    People(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables}
        )
        assert compare_metadata(context, METADATA) == []


def test_people_and_keys_are_made_from_the_command_line(rungs: CommandLine) -> None:
    assert "nobody" in rungs("accounts", "list").stdout
    assert "10 to 1000" in rungs.refused("accounts", "create-owner", "ann", stdin="short\n")
    assert rungs.json("accounts", "create-owner", "ann", stdin=f"{GOOD}\n")["role"] == "owner"
    assert rungs.json("accounts", "add", "ben", "--role", "agent", stdin=f"{GOOD}\n")["name"] == "ben"
    assert [one["name"] for one in rungs.json("accounts", "list")["accounts"]] == ["ann", "ben"]
    assert rungs.json("accounts", "password", "ben", stdin="a new password\n")["changed"]
    assert rungs.json("accounts", "remove", "ben")["removed"]
    assert "last owner" in rungs.refused("accounts", "remove", "ann")
    made = rungs.json("keys", "create", "Open WebUI", "--scope", "ask")
    assert made["secret"].startswith("rk-")
    assert "secret" not in rungs.json("keys", "list")["keys"][0]
    assert rungs.json("keys", "revoke", made["id"])["revoked"]
    assert "no keys" in rungs("keys", "list").stdout
    assert "no key" in rungs.refused("keys", "revoke", "unheard-of")
