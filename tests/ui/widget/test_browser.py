"""The widget on another host's page against the real server: a visitor asks, is not content, and gets a person."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from assistant.build import Rungs
from tests.ui import browsing
from tests.ui.browsing import until
from tests.ui.chat.test_browser import LAMP, TRUSTED, site, slow_words
from tests.ui.present.test_present import ATTACKS
from tests.ui.widget.hosting import Caller, Host, calling, hosting
from ui.widget.sites import Site, Sites

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),  # gradio's queue counts with pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rungs, str]]:
    with site(tmp_path_factory.mktemp("widget"), TRUSTED, visitor_questions_per_minute=0) as running:
        yield running


@pytest.fixture
def rungs(served: tuple[Rungs, str]) -> Rungs:
    return served[0]


@pytest.fixture
def host(served: tuple[Rungs, str]) -> Iterator[Host]:
    with hosting() as page:
        page.server = served[1]
        yield page


@pytest.fixture
def shop(host: Host, rungs: Rungs) -> Callable[..., Site]:
    """Makes a site for the host's page, and puts its key there."""

    def make(**look: Any) -> Site:
        made = Sites(rungs.engine).add(
            f"shop {time.monotonic_ns()}", [host.url], "owner", {"title": "Lamp help"} | look
        )
        host.key = made.key
        return made

    return make


def eventually(true: Callable[[], Any], seconds: float = 10.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def latest(rungs: Rungs) -> str:
    """The conversation of the newest question."""
    return str(rungs.traces.load(rungs.traces.find(limit=1)[0].id).question.conversation_id)


def call_a_person(caller: Caller, note: str = "") -> None:
    caller.page.get_by_role("button", name="Talk to a person").click()
    caller.page.locator("#note").fill(note)
    caller.page.get_by_role("button", name="Ask for a person").click()
    expect(caller.page.locator(".status")).to_have_text("A person has been told")


def test_an_answer_shows_its_level_how_sure_it_is_and_its_sources(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    shop(suggestions=[LAMP], greeting="Ask about **lamps**.")
    with calling(browser, host) as caller:
        caller.open()
        expect(caller.page.locator(".greeting strong")).to_have_text("lamps")
        caller.page.get_by_role("button", name=LAMP).click()
        answer = caller.page.locator(".entry.assistant")
        expect(answer.locator(".level")).to_have_text("From the documents")
        expect(answer.locator(".levels .quiet")).to_contain_text("likely right")
        expect(answer.locator(".prose")).to_contain_text("red lever")
        quote = answer.locator("blockquote").first
        expect(quote).to_be_hidden()
        answer.locator("summary").click()
        expect(quote).to_contain_text("red lever")
        expect(answer.locator(".sources .title").first).to_have_text("Lamps")
        expect(answer.locator("a")).to_have_count(0)
        answer.locator("summary").click()
        answer.get_by_role("button", name="Sources 1").click()
        expect(quote).to_be_visible()
        assert rungs.traces.load(rungs.traces.find(limit=1)[0].id).question.surface == "widget"
        chip = caller.page.locator(".log > .chips .chip").first
        words = chip.inner_text()
        chip.click()
        expect(caller.page.locator(".entry.visitor .bubble").last).to_have_text(words)


def test_a_thumb_down_asks_for_a_reason_and_both_are_kept(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    shop()
    with calling(browser, host) as caller:
        caller.open()
        answer = caller.ask(LAMP)
        trace = rungs.traces.find(limit=1)[0].id
        answer.get_by_role("button", name="Not helpful").click()
        answer.get_by_role("button", name="Out of date").click()
        answer.get_by_label("In your words").fill("the lever is blue now")
        answer.get_by_role("button", name="Send").click()
        expect(answer).to_contain_text("Thank you.")
        eventually(lambda: any("blue" in thumb.reason for thumb in rungs.traces.feedback(trace)))
        assert rungs.traces.feedback(trace)[-1].reason == "Out of date: the lever is blue now"
        caller.page.reload()
        caller.open()
        bad = caller.page.get_by_role("button", name="Not helpful")
        expect(bad).to_have_attribute("aria-pressed", "true")


def test_a_person_takes_over_live_and_the_visitor_always_knows_who_speaks(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    shop()
    desk = rungs.desk
    with calling(browser, host) as caller:
        caller.open()
        expect(caller.page.locator(".status")).to_have_text("Automatic assistant")
        caller.ask(LAMP)
        call_a_person(caller, "my lamp is on fire")
        conversation = latest(rungs)
        waiting = desk.open_of(conversation)
        assert waiting and waiting.note == "my lamp is on fire"
        caller.ask("How often is a kettle descaled?")
        desk.take(waiting.id, "Mara")
        expect(caller.page.locator(".status")).to_have_text("You are talking to a person: Mara")
        expect(caller.page.locator(".entry.system").last).to_contain_text("Mara from support has joined")
        questions = len(rungs.traces.find(limit=100))
        caller.say("Are you there?")
        eventually(lambda: [m for m in desk.messages(conversation) if m.text == "Are you there?"])
        said = desk.say(conversation, "agent", "Mara", "Yes. Which **lamp**?")
        agent = caller.page.locator(".entry.agent")
        expect(agent).to_contain_text("Yes. Which lamp?")
        expect(agent.locator(".who")).to_contain_text("MaraPerson")
        assert len(rungs.traces.find(limit=100)) == questions, "the assistant is silent"
        expect(caller.page.locator(".entry.visitor")).to_have_count(3)
        agent.get_by_role("button", name="Helpful", exact=True).click()
        eventually(lambda: [m for m in desk.messages(conversation) if m.id == said.id and m.rating == 1])
        desk.resolve(waiting.id, "Mara")
        expect(caller.page.locator(".status")).to_have_text("Automatic assistant")
        caller.ask(LAMP)


def test_what_came_while_the_panel_was_shut_is_counted_even_on_the_next_page(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    shop()
    with calling(browser, host) as caller:
        caller.open()
        caller.ask(LAMP)
        call_a_person(caller)
        conversation = latest(rungs)
        waiting = rungs.desk.open_of(conversation)
        assert waiting
        rungs.desk.take(waiting.id, "Mara")
        expect(caller.page.locator(".status")).to_contain_text("Mara")
        caller.page.keyboard.press("Escape")
        expect(caller.panel).to_be_hidden()
        rungs.desk.say(conversation, "agent", "Mara", "one")
        expect(caller.page.locator(".unread")).to_have_text("1")
        caller.page.reload()
        rungs.desk.say(conversation, "agent", "Mara", "two")
        expect(caller.page.locator(".unread")).to_have_text("2")
        expect(caller.launcher).to_have_attribute("aria-label", "Open the chat, 2 new messages")
        caller.open()
        expect(caller.page.locator(".unread")).to_have_count(0)
        expect(caller.page.locator(".entry.agent")).to_have_count(2)
        caller.page.reload()
        caller.launcher.wait_for()
        caller.page.wait_for_timeout(500)
        expect(caller.page.locator(".unread")).to_have_count(0)


def test_conversations_are_their_visitors_own_and_can_be_gone_back_to(
    browser: Browser, host: Host, shop: Callable[..., Site]
) -> None:
    shop()
    with calling(browser, host) as caller:
        caller.open()
        caller.ask("How often is a kettle descaled?")
        caller.page.get_by_role("button", name="New conversation").click()
        expect(caller.page.locator(".entry.visitor")).to_have_count(0)
        caller.ask(LAMP)
        caller.page.get_by_role("button", name="Your conversations").click()
        past = caller.page.locator(".past button")
        expect(past).to_have_count(2)
        expect(past.first).to_have_attribute("aria-current", "true")
        past.filter(has_text="kettle").click()
        expect(caller.page.locator(".entry.assistant")).to_contain_text("citric acid")
        caller.page.reload()
        caller.open()
        expect(caller.page.locator(".entry.visitor")).to_have_count(1)
    with calling(browser, host) as stranger:
        stranger.open()
        expect(stranger.page.locator(".entry.visitor")).to_have_count(0)
        stranger.page.get_by_role("button", name="Your conversations").click()
        expect(stranger.page.locator(".sheet")).to_contain_text("No conversations yet.")


def test_a_form_comes_before_the_first_question_and_its_words_reach_agents_alone(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    fields = [
        {"name": "name", "label": "Your name"},
        {"name": "mail", "label": "E-mail", "type": "email", "required": False},
    ]
    shop(form=fields)
    with calling(browser, host) as caller:
        caller.open()
        expect(caller.page.get_by_label("Your name")).to_be_focused()
        start = caller.page.get_by_role("button", name="Start the conversation")
        start.click()
        expect(caller.page.locator(".sheet")).to_be_visible()
        caller.page.get_by_label("Your name").fill("Ada <b>L</b>")
        caller.page.get_by_label("E-mail (optional)").fill("no address")
        start.click()
        expect(caller.page.locator(".sheet")).to_be_visible()
        caller.page.get_by_label("E-mail (optional)").fill("ada@example.com")
        start.dblclick()
        caller.ask(LAMP)
        (note,) = rungs.desk.messages(latest(rungs), notes=True)
        assert note.text == "Your name: Ada <b>L</b>\nE-mail: ada@example.com"
        caller.page.reload()
        caller.open()
        expect(caller.page.locator(".entry.assistant")).to_have_count(1)
        expect(caller.page.locator(".log")).not_to_contain_text("Ada")
        expect(caller.page.locator(".sheet")).to_have_count(0)


def test_a_greeting_comes_by_itself_once_and_takes_no_focus(
    browser: Browser, host: Host, shop: Callable[..., Site]
) -> None:
    shop(proactive={"seconds": 1, "text": "Looking for a lamp?"})
    with calling(browser, host) as caller:
        teaser = caller.page.locator(".teaser")
        expect(teaser).to_have_text("Looking for a lamp?")
        assert caller.page.evaluate("document.activeElement === document.body")
        teaser.get_by_role("button", name="Close").click()
        expect(teaser).to_have_count(0)
        caller.page.reload()
        caller.launcher.wait_for()
        caller.page.wait_for_timeout(1500)
        expect(teaser).to_have_count(0)
    with calling(browser, host) as caller:
        caller.page.get_by_role("button", name="Looking for a lamp?").click()
        expect(caller.panel).to_be_visible()


@pytest.mark.parametrize("how", ["button", "leave"])
def test_stopping_and_leaving_reach_the_engine_at_once(
    how: str, browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop()
    cancels: list[threading.Event] = slow_words(rungs, monkeypatch)
    with calling(browser, host) as caller:
        caller.open()
        caller.say(LAMP)
        expect(caller.page.locator(".entry.assistant.writing")).to_contain_text("lever lever")
        if how == "button":
            caller.page.get_by_role("button", name="Stop").click()
            expect(caller.page.locator(".entry.assistant")).to_contain_text("Stopped.")
        else:
            caller.page.close()
        eventually(lambda: cancels[0].is_set(), 3.0)
        eventually(lambda: rungs.traces.find(limit=1)[0].status == "interrupted", 3.0)


@pytest.mark.parametrize(
    ("language", "send", "level"),
    [("en", "Send", "From the documents"), ("de", "Senden", "Aus den Dokumenten"),
     ("fr", "Envoyer", "D'après les documents"), ("es-MX", "Enviar", "De los documentos")],
)  # fmt: skip
def test_the_widget_speaks_the_sites_language(
    language: str, send: str, level: str, browser: Browser, host: Host, shop: Callable[..., Site]
) -> None:
    shop(language=language, texts={"hint": "~ the owner's own words ~"})
    with calling(browser, host) as caller:
        caller.open()
        expect(caller.page.get_by_role("button", name=send, exact=True)).to_be_visible()
        expect(caller.page.locator(".tail")).to_contain_text("~ the owner's own words ~")
        assert caller.page.locator(".root").get_attribute("lang") == language
        answer = caller.ask(LAMP)
        expect(answer.locator(".level")).to_have_text(level)
        if language != "en":
            expect(answer.locator(".levels")).not_to_contain_text("likely")


def test_attributes_of_the_tag_override_the_sites_settings(
    browser: Browser, host: Host, shop: Callable[..., Site]
) -> None:
    shop()
    host.attributes = (
        'data-position="left" data-color="#ffcc00" data-theme="dark" data-language="de" data-title="Hilfe!" '
        'data-greeting="Na?" data-offset-x="60" data-offset-y="90" data-open'
    )
    with calling(browser, host) as caller:
        expect(caller.panel).to_be_visible()
        assert caller.page.evaluate("document.activeElement === document.body"), "what opens by itself takes no focus"
        expect(caller.page.locator(".head h2")).to_have_text("Hilfe!")
        expect(caller.page.locator(".greeting")).to_contain_text("Na?")
        box = caller.launcher.bounding_box()
        assert box and (box["x"], box["y"] + box["height"]) == (60, 710)
        expect(caller.launcher).to_have_css("background-color", "rgb(255, 204, 0)")
        expect(caller.panel).to_have_css("background-color", "rgb(22, 27, 38)")
        expect(caller.page.get_by_role("button", name="Senden")).to_be_visible()


LISTEN = """() => {
  window.told = [];
  for (const name of ["open", "answer", "close"]) Rungs.on(name, (about) => told.push([name, about.level ?? null]));
}"""


def test_the_page_can_drive_the_widget(browser: Browser, host: Host, shop: Callable[..., Site]) -> None:
    shop()
    host.attributes = 'data-launcher="none"'
    with calling(browser, host, wait=False) as caller:
        caller.page.evaluate(LISTEN)
        expect(caller.launcher).to_be_hidden()
        caller.page.evaluate("Rungs.open()")
        caller.ask(LAMP)
        caller.page.evaluate("Rungs.close()")
        expect(caller.panel).to_be_hidden()
        assert caller.page.evaluate("told") == [["open", None], ["answer", "rag"], ["close", None]]
        caller.page.evaluate("Rungs.reset()")
        caller.page.evaluate("Rungs.open()")
        expect(caller.page.locator(".entry.visitor")).to_have_count(0)


def test_a_signed_identity_brings_a_persons_conversations_to_another_browser(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    import jwt

    made = shop()
    key = Sites(rungs.engine).add_identity_key(made.key, "HS256")

    def signed() -> str:
        claims = {"sub": "customer 7", "aud": made.key, "exp": int(time.time()) + 600, "jti": str(time.monotonic_ns())}
        return jwt.encode(claims, key.material, algorithm="HS256", headers={"kid": key.id})

    for browsers in range(2):
        with calling(browser, host) as caller:
            caller.open()
            if browsers == 0:
                caller.ask("How often is a kettle descaled?")
            assert caller.page.evaluate("token => Rungs.identify(token)", signed()) is True
            if browsers == 0:
                expect(caller.page.locator(".entry.visitor")).to_have_count(0)
                caller.ask(LAMP)
            expect(caller.page.locator(".entry.visitor .bubble")).to_have_text([LAMP])
            assert caller.page.evaluate("token => Rungs.identify(token)", "forged") is False
            expect(caller.page.locator(".entry.visitor .bubble")).to_have_count(1 - browsers)


def test_a_page_that_the_site_does_not_name_gets_nothing(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    made = shop()
    Sites(rungs.engine).change(made.key, origins=["https://elsewhere.example"])
    with calling(browser, host, wait=False) as caller:
        until(caller.page, "Boolean(window.Rungs)")
        caller.page.wait_for_timeout(1000)
        expect(caller.launcher).to_have_count(0)
        assert all("CORS policy" in error for error in caller.errors)
        caller.errors.clear()


def test_a_frame_of_ours_holds_the_widget_for_pages_that_take_no_script(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    made = shop()
    host.frame = True
    with calling(browser, host, wait=False) as caller:
        frame = caller.page.frame_locator("iframe")
        box = frame.locator(".composer textarea")
        box.fill(LAMP)
        box.press("Enter")
        expect(frame.locator(".entry.assistant .prose")).to_contain_text("red lever")
        expect(frame.locator(".launcher, .closing")).to_have_count(2)
        expect(frame.locator(".launcher")).to_be_hidden()
    Sites(rungs.engine).change(made.key, origins=["https://elsewhere.example"])
    with calling(browser, host, wait=False) as caller:
        expect(caller.page.frame_locator("iframe").locator(".composer")).to_have_count(0)
        caller.errors.clear()


def test_hostile_words_of_visitors_agents_and_owners_are_only_words(
    browser: Browser, host: Host, shop: Callable[..., Site], rungs: Rungs
) -> None:
    attacks = [attack for attack in ATTACKS if len(attack) <= 60 and "\x00" not in attack][:40]
    assert len(attacks) == 40
    bad = attacks[3]
    shop(
        title=bad, greeting=bad, suggestions=attacks[:6], proactive={"seconds": 1, "text": bad},
        form=[{"name": "a", "label": bad, "required": False}],
        texts={"hint": bad, "talk": bad, "open": bad, "automatic": bad},
    )  # fmt: skip
    with calling(browser, host) as caller:
        expect(caller.page.locator(".teaser .say")).to_have_text(bad)
        caller.page.locator(".teaser .say").click()
        caller.page.locator(".main-button").click()
        expect(caller.page.locator(".head h2")).to_have_text(bad)
        for attack in attacks:
            caller.ask(attack)
            expect(caller.page.locator(".entry.visitor .bubble").last).to_have_text(attack)
        handoff = rungs.desk.hand_off(latest(rungs), "asked_for_person", attacks[0])
        rungs.desk.take(handoff.id, bad)
        for attack in attacks:
            rungs.desk.say(handoff.conversation_id, "agent", bad, attack)
        expect(caller.page.locator(".entry.agent")).to_have_count(40)
        caller.page.get_by_role("button", name="Your conversations").click()
        expect(caller.page.locator(".past button")).to_have_count(1)
        caller.page.reload()
        caller.open()
        expect(caller.page.locator(".entry.agent")).to_have_count(40)
        drawn = ".panel :is(img, a, script, iframe, style, object, embed, video, audio, link, base, meta)"
        assert caller.page.locator(drawn).count() == 0


def test_the_example_page_says_what_the_console_hands_out(host: Host) -> None:
    from tests.ui.widget.hosting import EXAMPLE
    from ui.widget.sites import snippet

    page = (EXAMPLE / "index.html").read_text()
    site_of = Site("KEY", "shop", (), None, True, "", "")  # type: ignore[arg-type]
    assert snippet(site_of, "HOST") in page and not re.search(r"<script(?! src)|style=|unsafe", page)
