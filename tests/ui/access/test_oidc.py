"""Logging in by OpenID Connect: who is proved gets a session and the owner's role for them, and nobody else does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from starlette.testclient import TestClient

from assistant.build import build
from assistant.errors import BadSettings
from assistant.settings import read_settings
from knowledge.database import open_engine
from tests.ui.access.identity_provider import CLIENT, SECRET, Provider
from tests.ui.test_live import listening
from tests.ui.test_server import OWN, PORT, TOKEN
from ui.access.doors import COOKIE
from ui.access.login import SetUp, add_login
from ui.access.oidc import add_oidc, role_of
from ui.access.people import People
from ui.server import create_app

GOOD = "correct horse battery"
ROLES = {"support": "agent", "boss@example.com": "owner"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    with listening(provider.app) as url:
        provider.url = url
        yield provider


@pytest.fixture
def people(tmp_path: Path, provider: Provider) -> Iterator[tuple[People, TestClient]]:
    provider.person, provider.twist = {"sub": "7", "preferred_username": "Ann"}, None
    with web_of(tmp_path, oidc_issuer=provider.url, oidc_secret=SECRET, oidc_roles=ROLES) as (people, client):
        people.add("owner", "owner", GOOD)
        yield people, client


@contextmanager
def web_of(folder: Path, **settings: Any) -> Iterator[tuple[People, TestClient]]:
    """The login pages alone, as `server.py` wires them."""
    engine = open_engine(f"sqlite:///{folder / 'rungs.db'}")
    said = read_settings(oidc_client=CLIENT, oidc_name="Example Inc.", **settings)
    people, app = People(engine), FastAPI()
    add_oidc(app, engine, said, people)
    add_login(app, people, SetUp(people), said.oidc_name)
    with TestClient(app, base_url=OWN, follow_redirects=False) as client:
        yield people, client
    engine.dispose()


def log_in(web: TestClient, next: str = "/copilot/", change: Any = None) -> httpx.Response:
    """The whole way: to the provider, and back."""
    begun = web.get(f"/login/oidc/?next={next}")
    assert begun.status_code == 302, begun.text
    back = httpx.get(begun.headers["location"], trust_env=False).headers["location"]
    path = back.removeprefix(OWN)
    answer: Any = web.get(change(path) if change else path)
    return answer


def test_the_login_page_leads_to_the_provider(people: tuple[People, TestClient]) -> None:
    page = people[1].get("/login?next=/console/").text
    assert 'href="/login/oidc/?next=%2Fconsole%2F"' in page and "Log in with Example Inc." in page


def test_whoever_is_proved_gets_a_session_and_their_role_anew(
    people: tuple[People, TestClient], provider: Provider
) -> None:
    known, web = people
    entered = log_in(web)
    assert (entered.status_code, entered.headers["location"]) == (303, "/copilot/")
    first = web.cookies[COOKIE]
    assert known.who(first) == known.accounts()[-1] and known.accounts()[-1].name == "ann"
    assert known.accounts()[-1].role == "user"
    provider.person |= {"groups": ["support", "else"]}
    log_in(web)
    assert [account.name for account in known.accounts()] == ["owner", "ann"], "one account however often"
    assert known.accounts()[-1].role == "agent"
    assert web.cookies[COOKIE] != first, "a session's secret is new at every login"


def test_nobody_takes_over_an_account_by_its_name(people: tuple[People, TestClient], provider: Provider) -> None:
    known, web = people
    for subject in ("8", "9"):
        provider.person = {"sub": subject, "preferred_username": "owner"}
        log_in(web)
    assert [account.name for account in known.accounts()] == ["owner", "owner-2", "owner-3"]
    assert known.who(web.cookies[COOKIE]).role == "user"  # type: ignore[union-attr]
    assert known.log_in("owner-2", "") is None and known.log_in("owner-2", GOOD) is None


def test_a_way_out_of_here_is_not_followed_after_a_login(people: tuple[People, TestClient]) -> None:
    assert log_in(people[1], "https://evil.test/").headers["location"] == "/"


def _rs(claims: dict[str, Any], provider: Provider, **changed: Any) -> str:
    return provider.sign({name: value for name, value in {**claims, **changed}.items() if value is not None})


def _hs_with_the_public_key(claims: dict[str, Any], provider: Provider) -> str:
    pem = provider.keys["k1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    signed = f"{part(json.dumps({'alg': 'HS256', 'kid': 'k1'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


NOW = int(time.time())
OTHER = rsa.generate_private_key(65537, 2048)
LIES: dict[str, Any] = {
    "for another client": lambda c, p: _rs(c, p, aud="other"),
    "for another client, in our name": lambda c, p: _rs(c, p, aud="other", azp=CLIENT),
    "for nobody": lambda c, p: _rs(c, p, aud=None),
    "by another issuer": lambda c, p: _rs(c, p, iss="https://evil.test"),
    "by nobody": lambda c, p: _rs(c, p, iss=None),
    "over": lambda c, p: _rs(c, p, exp=NOW - 600),
    "never over": lambda c, p: _rs(c, p, exp=None),
    "made in the future": lambda c, p: _rs(c, p, iat=NOW + 3600),
    "not yet good": lambda c, p: _rs(c, p, nbf=NOW + 3600),
    "of nobody": lambda c, p: _rs(c, p, sub=None),
    "with another nonce": lambda c, p: _rs(c, p, nonce="x"),
    "without a nonce": lambda c, p: _rs(c, p, nonce=None),
    "unsigned": lambda c, p: jwt.encode(c, "", algorithm="none"),
    "signed with what is public": _hs_with_the_public_key,
    "signed with another key": lambda c, p: p.sign(c, key=OTHER),
    "by an unknown key": lambda c, p: jwt.encode(c, OTHER, algorithm="RS256", headers={"kid": "k9"}),
    "changed on the way": lambda c, p: _rs(c, p)[:-6] + "AAAAAA",
    "none at all": lambda c, p: None,
    "no token": lambda c, p: "x.y.z",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_login_that_is_not_proved_ends_on_the_login_page(
    people: tuple[People, TestClient], provider: Provider, lie: str
) -> None:
    known, web = people
    provider.twist = LIES[lie]
    refused = log_in(web)
    assert refused.status_code == 401 and "could not be verified" in refused.text
    assert COOKIE not in web.cookies and len(known.accounts()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path + "x",  # another state: state comes last
        lambda path: path.split("&state=")[0],
        lambda path: path.replace("code=", "code=x"),
        lambda path: path.split("?")[0],
        lambda path: path.split("?")[0] + "?error=access_denied",
    ],
)
def test_a_way_back_that_is_changed_proves_nothing(people: tuple[People, TestClient], change: Any) -> None:
    assert log_in(people[1], change=change).status_code == 401
    assert COOKIE not in people[1].cookies


def test_a_way_back_is_good_once_and_in_one_browser(people: tuple[People, TestClient]) -> None:
    _, web = people
    ways: list[str] = []
    log_in(web, change=lambda path: ways.append(path) or path)
    web.cookies.clear()
    assert web.get(ways[0]).status_code == 401
    stolen: list[str] = []
    log_in(web, change=lambda path: stolen.append(path) or "/login/oidc/back")
    web.cookies.clear()
    assert web.get(stolen[0]).status_code == 401, "another browser has no state"


def test_a_key_that_the_provider_has_changed_is_looked_up(
    people: tuple[People, TestClient], provider: Provider
) -> None:
    _, web = people
    log_in(web)
    provider.keys = {"k2": OTHER}
    provider.twist = lambda claims, p: p.sign(claims, "k2")
    assert log_in(web).status_code == 303
    provider.keys = {"k1": rsa.generate_private_key(65537, 2048)}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864; providers still call Ed25519 so
@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()], ids=["ES256", "EdDSA"]
)
def test_a_provider_may_sign_with_other_kinds_of_keys(
    people: tuple[People, TestClient], provider: Provider, key: Any
) -> None:
    rsa_keys, provider.keys = provider.keys, {"e1": key}
    provider.twist = lambda claims, p: p.sign(claims, "e1")
    try:
        assert log_in(people[1]).status_code == 303
        provider.twist = lambda claims, p: p.sign(claims, "e1", OTHER)
        assert log_in(people[1]).status_code == 401
    finally:
        provider.keys = rsa_keys


@pytest.mark.parametrize(
    ("claims", "roles", "role"),
    [
        ({}, {}, "user"),
        ({}, {"default": ""}, None),
        ({"groups": ["a", "b"]}, {"a": "agent", "b": "owner"}, "owner"),
        ({"email": "x@y.z", "email_verified": True}, {"x@y.z": "owner"}, "owner"),
        ({"email": "x@y.z"}, {"x@y.z": "owner"}, "user"),
        ({"groups": "support"}, {"support": "owner"}, "user"),
        ({"groups": ["default"]}, {"default": "user"}, "user"),
    ],
)
def test_a_role_is_the_owners_word_and_never_the_visitors(claims: Any, roles: Any, role: str | None) -> None:
    assert role_of(claims, roles) == role


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"oidc_issuer": "https://id.test"}, "oidc_client"),
        ({"oidc_issuer": "http://id.test", "oidc_client": "x"}, "https"),
        ({"oidc_issuer": "https://id.test", "oidc_client": "x", "oidc_roles": {"a": "king"}}, "king"),
    ],
)
def test_a_provider_that_is_half_set_is_said(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSettings, match=told):
        read_settings(**settings)


def test_a_provider_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with web_of(tmp_path, oidc_issuer="http://127.0.0.1:9") as (_, web):
        answer = web.get("/login/oidc/")
    assert answer.status_code == 503 and "does not answer" in answer.text


def test_the_whole_application_leads_to_the_provider_that_its_settings_name(tmp_path: Path, provider: Provider) -> None:
    settings = read_settings(
        home=tmp_path / "home",
        model="scripted",
        embedder="hash",
        demo=False,
        oidc_issuer=provider.url,
        oidc_client=CLIENT,
    )
    rungs = build(settings)
    with TestClient(create_app(rungs, TOKEN, PORT), base_url=OWN, follow_redirects=False) as web:
        assert "single sign-on" in web.get("/login").text
        assert web.get("/login/oidc").headers["location"].startswith("/login/oidc/")
        assert web.get("/login/oidc/").headers["location"].startswith(provider.url)
    rungs.close()
