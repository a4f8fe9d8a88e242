"""The widget's door: only a site's own origins, only a visitor's own conversations, only proved identities."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.errors import AssistantError
from assistant.home import owned
from assistant.types import Finished, Question
from knowledge.ingest import ingest
from tests.ui.browsing import ACCEPTS_RAG
from tests.ui.serving import write_pages
from tests.ui.test_server import OWN, PORT, TOKEN, settings_of
from ui.server import create_app
from ui.widget.sites import Site, Sites, origin_of, snippet
from ui.widget.visitor_tokens import BadToken, VisitorTokens

HOST = "https://shop.example.com"
LAMP = "How is a lamp switched on?"


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    folder = tmp_path_factory.mktemp("widget")
    (folder / "home").mkdir()
    (folder / "home" / "calibration.json").write_text(json.dumps(ACCEPTS_RAG))
    with owned(folder / "home"):
        built = build(settings_of(folder / "home"))
        list(ingest(built.store, [write_pages(folder / "pages")]))
        yield built
        built.close()


@pytest.fixture(scope="module")
def sites(rungs: Rungs) -> Sites:
    return Sites(rungs.engine)


@pytest.fixture(scope="module")
def site(sites: Sites) -> Site:
    form = [{"name": "mail", "label": "Your e-mail", "type": "email"}]
    return sites.add("shop", [HOST, "http://localhost:9000"], "owner", {"title": "Shop help", "form": form})


@pytest.fixture(scope="module")
def web(rungs: Rungs) -> Iterator[TestClient]:
    with TestClient(
        create_app(rungs, TOKEN, PORT), base_url=OWN, follow_redirects=False, raise_server_exceptions=False
    ) as client:
        yield client


class Widget:
    """One browser's widget."""

    def __init__(self, web: TestClient, site: Site, origin: str = HOST, **session: Any) -> None:
        self._web, self.origin = web, origin
        answer = web.post("/widget/api/session", json={"site": site.key, **session}, headers={"origin": origin})
        self.status, self.begun = answer.status_code, answer.json()
        self.headers = {"origin": origin, "authorization": f"Bearer {self.begun.get('token')}"}

    def post(self, path: str, **body: Any) -> Any:
        return self._web.post(f"/widget/api/{path}", json=body, headers=self.headers)

    def get(self, path: str) -> Any:
        return self._web.get(f"/widget/api/{path}", headers=self.headers)

    def ask(self, text: str, conversation: str | None = None, once: str = "") -> list[tuple[str, Any]]:
        return events(self.post("ask", conversation=conversation, text=text, once=once).text)


def events(stream: str) -> list[tuple[str, Any]]:
    found = []
    for block in stream.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_visitor_asks_and_sees_the_climb_the_answer_and_its_sources(web: TestClient, site: Site) -> None:
    widget = Widget(web, site)
    told = widget.ask(LAMP)
    names = [name for name, _ in told]
    assert names[0] == "conversation" and names[-1] == "done" and "climb" in names and "words" in names
    answer = dict(told)["answer"]
    assert answer["level"] == "rag" and "red lever" in answer["text"] and answer["citations"][0]["title"] == "Lamps"
    assert answer["citations"][0]["uri"] == "", "no path of the owner's machine"
    conversation = dict(told)["conversation"]["id"]
    whole = widget.get(f"conversations/{conversation}").json()
    assert whole["state"] == "assistant" and [entry["speaker"] for entry in whole["entries"]] == [
        "visitor",
        "assistant",
    ]
    assert widget.get("conversations").json()["conversations"][0]["id"] == conversation
    kept = widget.post("feedback", conversation=conversation, trace_id=answer["trace_id"], value=1)
    assert kept.json() == {"kept": True}


def test_the_same_key_is_the_same_question(web: TestClient, site: Site, rungs: Rungs) -> None:
    widget = Widget(web, site)
    before = len(rungs.traces.find(limit=1000))
    first, second = dict(widget.ask(LAMP, once="k1")), dict(widget.ask(LAMP, once="k1"))
    assert second["conversation"] == first["conversation"], "a first question opens one conversation"
    assert second["answer"] == first["answer"] and len(rungs.traces.find(limit=1000)) == before + 1
    conversation = first["conversation"]["id"]
    others = [widget.ask(LAMP, conversation, once="k2"), Widget(web, site).ask(LAMP, once="k1")]
    assert len({dict(told)["answer"]["trace_id"] for told in [first.items(), *others]}) == 3


def test_a_line_that_was_cut_gets_the_answer_that_is_being_written(web: TestClient, site: Site, rungs: Rungs) -> None:
    widget = Widget(web, site)
    conversation = dict(widget.ask(LAMP))["conversation"]["id"]
    asked = Question(LAMP, conversation, once="k1")
    stream = rungs.assistant.stream(asked)
    next(stream)
    with ThreadPoolExecutor() as pool:
        again = pool.submit(widget.ask, LAMP, conversation, "k1")
        *_, last = stream
        assert isinstance(last, Finished) and dict(again.result())["answer"]["trace_id"] == last.trace.id
    assert len(rungs.traces.turns(conversation)) == 2


def test_what_was_interrupted_is_asked_anew_with_the_same_key(web: TestClient, site: Site, rungs: Rungs) -> None:
    widget = Widget(web, site)
    conversation = dict(widget.ask(LAMP))["conversation"]["id"]
    cut = rungs.traces.begin(Question(LAMP, conversation, once="k1"), {})
    rungs.traces.interrupted(cut, "the asker left")
    assert dict(widget.ask(LAMP, conversation, once="k1"))["answer"]["trace_id"] != cut
    assert [bool(turn.answer) for turn in rungs.traces.turns(conversation)] == [True, False, True]


def test_a_person_takes_over_and_the_assistant_is_silent(web: TestClient, site: Site, rungs: Rungs) -> None:
    widget = Widget(web, site)
    conversation = dict(widget.ask(LAMP))["conversation"]["id"]
    assert widget.post("person", conversation=conversation, note="call me").json()["state"] == "waiting"
    assert "answer" in dict(widget.ask(LAMP, conversation)), "until a person is there the assistant goes on"
    handoff = rungs.desk.open_of(conversation)
    assert handoff and handoff.site == "shop" and handoff.note == "call me"
    rungs.desk.take(handoff.id, "ann")
    for _ in range(2):
        told = widget.ask("Are you there?", conversation, once="k1")
        assert [name for name, _ in told] == ["conversation", "said", "done"]
    said = rungs.desk.say(conversation, "agent", "ann", "Yes.")
    whole = widget.get(f"conversations/{conversation}").json()
    assert (whole["state"], whole["agent"]) == ("person", "ann")
    assert [entry["text"] for entry in whole["entries"]][-2:] == ["Are you there?", "Yes."]
    assert widget.post("feedback", conversation=conversation, message_id=said.id, value=1).json() == {"kept": True}
    assert rungs.desk.messages(conversation)[-1].rating == 1


def test_the_form_is_for_agents_and_holds_only_what_was_asked(web: TestClient, site: Site, rungs: Rungs) -> None:
    widget = Widget(web, site)
    conversation = widget.post("form", fields={"mail": "a@b.example", "else": "x"}).json()["conversation"]
    assert [said.text for said in rungs.desk.messages(conversation, notes=True)] == ["Your e-mail: a@b.example"]
    assert widget.get(f"conversations/{conversation}").json()["entries"] == []


def test_a_visitor_takes_a_conversation_along_and_has_everything_erased(web: TestClient, site: Site) -> None:
    mine, other = Widget(web, site), Widget(web, site)
    (first, _), theirs = (dict(mine.ask(LAMP))["conversation"]["id"] for _ in range(2)), dict(other.ask(LAMP))
    file = mine.get(f"conversations/{first}/export?form=md")
    assert f"> {LAMP}" in file.text and file.headers["content-disposition"].endswith('"conversation.md"')
    assert mine.get(f"conversations/{first}/export").json()["entries"][0]["text"] == LAMP
    assert mine.post("erase").json() == {"conversations": 2, "wiped": True}
    assert mine.get("conversations").json()["conversations"] == []
    assert mine.get(f"conversations/{first}").status_code == 400
    assert other.get(f"conversations/{theirs['conversation']['id']}").status_code == 200
    assert mine.post("erase").json()["conversations"] == 0
    nobody = web.post("/widget/api/erase", json={}, headers={"origin": HOST})
    assert nobody.status_code == 401, "a visitor is known by their token alone"


@pytest.mark.parametrize("path", ["conversations/{id}", "conversations/{id}/export", "live?conversation={id}"])
def test_a_strangers_conversation_is_not_to_be_had(web: TestClient, site: Site, path: str) -> None:
    mine = dict(Widget(web, site).ask(LAMP))["conversation"]["id"]
    stranger = Widget(web, site)
    assert stranger.get(path.format(id=mine)).status_code == 400
    for name in ("ask", "person", "form", "feedback"):
        body = {"conversation": mine, "text": "x", "fields": {}, "value": 1, "trace_id": "x"}
        assert stranger.post(name, **body).status_code == 400


FOREIGN = (
    "https://evil.test", "http://shop.example.com", "https://shop.example.com.evil.test", "https://evil-shop.example.com",
    "https://SHOP.example.com", "https://shop.example.com:8443", "https://shop.example.com/", "https://www.shop.example.com",
    "https://shop.example.com@evil.test", "null", "", "file://", "https://", "https://example.com", "http://localhost:9001",
    "http://localhost", "https://localhost:9000", "http://127.0.0.1:9000", "chrome-extension://abc", "https://shop.example.co",
)  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_an_origin_that_the_site_does_not_name_gets_nothing(web: TestClient, site: Site, origin: str) -> None:
    refused = Widget(web, site, origin)
    assert refused.status == 403 and refused.begun["error"]["code"] == "origin"
    good = Widget(web, site)
    headers = {**good.headers, "origin": origin}
    stolen = web.get("/widget/api/conversations", headers=headers)
    assert stolen.status_code in (401, 403), "a token is good on its own page alone"
    preflight = web.options("/widget/api/ask", headers={"origin": origin, "access-control-request-method": "POST"})
    assert preflight.status_code == 403 and "access-control-allow-origin" not in preflight.headers


def test_a_named_origin_may_read_the_answers_and_sends_no_cookies(web: TestClient, site: Site) -> None:
    answer = web.options("/widget/api/ask", headers={"origin": HOST, "access-control-request-method": "POST"})
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == HOST
    begun = web.post("/widget/api/session", json={"site": site.key}, headers={"origin": HOST})
    assert begun.headers["access-control-allow-origin"] == HOST and "Origin" in begun.headers["vary"]
    assert "access-control-allow-credentials" not in {**answer.headers, **begun.headers}
    assert "set-cookie" not in begun.headers
    unread = web.get("/widget/api/conversations", headers={"origin": HOST})
    assert unread.status_code == 401 and unread.headers["access-control-allow-origin"] == HOST


def test_an_unknown_site_and_one_that_is_shut_are_served_nowhere(web: TestClient, sites: Sites, site: Site) -> None:
    assert web.post("/widget/api/session", json={"site": "site-none"}, headers={"origin": HOST}).status_code == 404
    assert web.post("/widget/api/session", json={"site": "shop"}, headers={"origin": HOST}).status_code == 404
    shut = sites.add("shut", ["https://shut.example.com"], "owner")
    open_widget = Widget(web, shut, "https://shut.example.com")
    sites.change(shut.key, open=False)
    assert Widget(web, shut, "https://shut.example.com").status == 404
    assert open_widget.get("conversations").status_code == 403, "at once, whatever token is still good"


def test_a_browser_finds_its_conversations_again_and_nobody_elses(web: TestClient, site: Site) -> None:
    first = Widget(web, site)
    conversation = dict(first.ask(LAMP))["conversation"]["id"]
    again = Widget(web, site, visitor=first.begun["visitor"])
    assert again.begun["conversation"] == conversation
    other = Widget(web, site, visitor="short")
    assert other.begun["conversation"] is None and other.begun["visitor"] != "short"


def test_a_token_that_is_over_is_said_so_and_one_that_is_changed_is_refused(
    web: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.widget.visitor_tokens.TOKEN_SECONDS", -10)
    over = Widget(web, site).get("conversations")
    assert (over.status_code, over.json()["error"]["code"]) == (401, "expired")
    monkeypatch.undo()
    widget = Widget(web, site)
    token = widget.begun["token"]
    head, claims, signature = token.split(".")
    unsigned = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", algorithm="none")
    other_key = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "k" * 32, algorithm="HS256")
    for bad in (unsigned, other_key, f"{head}.{claims}.{signature[:-2]}xx", f"{head}.{claims}.", "", "x", "a.b.c"):
        widget.headers["authorization"] = f"Bearer {bad}"
        assert widget.get("conversations").status_code == 401, bad


def identity(
    key: Any, site: Site, *, secret: Any = None, algorithm: str = "HS256", kid: Any = None, **claims: Any
) -> str:
    now = int(time.time())
    told = {"sub": "customer-7", "aud": site.key, "exp": now + 600, "iat": now, "jti": f"j{time.monotonic_ns()}"}
    told = {name: value for name, value in {**told, **claims}.items() if value is not None}
    headers = {"kid": key.id if kid is None else kid}
    return jwt.encode(told, key.material if secret is None else secret, algorithm=algorithm, headers=headers)


def test_history_follows_a_proved_identity_and_is_never_merged_without_it(
    web: TestClient, sites: Sites, site: Site
) -> None:
    key = sites.add_identity_key(site.key)
    anonymous = Widget(web, site)
    anonymous.ask(LAMP)
    one = Widget(web, site, identity=identity(key, site, name="Ann"), visitor=anonymous.begun["visitor"])
    assert one.begun["known"] and one.begun["name"] == "Ann"
    assert one.begun["conversation"] is None, "what was asked before is not theirs by being in the same browser"
    conversation = dict(one.ask(LAMP))["conversation"]["id"]
    elsewhere = Widget(web, site, identity=identity(key, site))
    assert elsewhere.begun["conversation"] == conversation
    assert Widget(web, site, visitor=anonymous.begun["visitor"]).begun["conversation"] != conversation


def test_a_site_may_sign_with_a_key_that_only_it_has(web: TestClient, sites: Sites, site: Site) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = sites.add_identity_key(site.key, "EdDSA", pem)
    assert Widget(web, site, identity=identity(key, site, secret=private, algorithm="EdDSA")).begun["known"]
    with pytest.raises(AssistantError, match="PEM"):
        sites.add_identity_key(site.key, "EdDSA", "no key")


BAD: dict[str, dict[str, Any]] = {  # numbers are seconds from now on
    "over": {"exp": -600},
    "good for too long": {"exp": 9000},
    "never over": {"exp": None},
    "for another site": {"aud": "site-other"},
    "for nobody": {"aud": None},
    "of nobody": {"sub": None},
    "without a number": {"jti": None},
    "not yet good": {"nbf": 600},
    "made in the future": {"iat": 600},
    "by an unknown key": {"kid": "ik-none"},
    "by no key": {"kid": ""},
    "with another secret": {"secret": "x" * 43},
    "with another algorithm": {"algorithm": "HS384", "secret": "x" * 64},
    "unsigned": {"algorithm": "none", "secret": ""},
    "with a time that is none": {"exp": "soon"},
}


@pytest.mark.parametrize("how", BAD)
def test_an_identity_that_is_not_proved_is_refused(web: TestClient, sites: Sites, site: Site, how: str) -> None:
    key = sites.add_identity_key(site.key)
    now = int(time.time())
    told = {name: now + value if isinstance(value, int) else value for name, value in BAD[how].items()}
    try:
        forged = identity(key, site, **told)
    except TypeError:  # the library does not make such a one; by hand then
        forged = "eyJhbGciOiJIUzI1NiJ9.e30.x"
    refused = Widget(web, site, identity=forged)
    assert (refused.status, refused.begun["error"]["code"]) == (401, "identity")


def test_an_identity_that_was_used_elsewhere_is_a_replay(web: TestClient, sites: Sites, site: Site) -> None:
    key = sites.add_identity_key(site.key)
    shown = identity(key, site)
    first = Widget(web, site, identity=shown)
    assert Widget(web, site, identity=shown, visitor=first.begun["visitor"]).begun["known"], "renewing is no replay"
    assert Widget(web, site, identity=shown).status == 401
    sites.remove_identity_key(key.id)
    assert Widget(web, site, identity=identity(key, site)).status == 401, "a key that was taken back proves nothing"


def test_a_public_key_is_no_secret_to_sign_with(rungs: Rungs, sites: Sites, site: Site) -> None:
    pem = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = sites.add_identity_key(site.key, "EdDSA", pem.decode())
    import base64
    import hashlib
    import hmac

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "kid": key.id}).encode())
    claims = part(json.dumps({"sub": "x", "aud": site.key, "exp": int(time.time()) + 60, "jti": "a"}).encode())
    signature = part(hmac.new(pem.strip(), f"{head}.{claims}".encode(), hashlib.sha256).digest())
    with pytest.raises(BadToken):
        VisitorTokens(rungs.engine, sites).identified(site, HOST, f"{head}.{claims}.{signature}", "s" * 30)


def test_only_the_sites_own_origins_may_frame_the_page(web: TestClient, site: Site) -> None:
    page = web.get(f"/widget/frame/{site.key}")
    assert f"frame-ancestors {HOST} http://localhost:9000" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in web.get(f"/widget/preview/{site.key}").headers["content-security-policy"]
    assert web.get("/widget/frame/none").status_code == 404
    assert web.get("/").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("https://Shop.Example.com/", "https://shop.example.com"),
        ("shop.example.com", "https://shop.example.com"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("https://x.test:443", "https://x.test"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(said: str, meant: str) -> None:
    assert origin_of(said) == meant


@pytest.mark.parametrize(
    "bad",
    [
        "*", "https://*.example.com", "https://x.test/path", "ftp://x.test", "https://u@x.test", "https://x.test:99999",
        "javascript:alert(1)", "https://x y",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_in_words(bad: str) -> None:
    with pytest.raises(AssistantError, match="no origin"):
        origin_of(bad)


def test_the_snippet_is_one_script_tag(site: Site) -> None:
    told = snippet(site, "https://support.example.com/")
    assert told == f'<script src="https://support.example.com/widget/rungs.js" data-site="{site.key}" defer></script>'


@pytest.mark.parametrize(
    "look",
    [{"color": "red"}, {"title": ""}, {"unknown": 1}, {"form": [{"name": "A b", "label": "x"}]}, {"language": "!"}],
)
def test_a_look_that_is_not_understood_is_refused_in_words(sites: Sites, look: dict[str, Any]) -> None:
    with pytest.raises(AssistantError, match=next(iter(look))):
        sites.add("another", [], "owner", look)
