"""The widget where the line or the server fails: on a double, since no healthy server can be made to fail like that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.responses import JSONResponse
from playwright.sync_api import Browser, expect

from tests.ui import browsing
from tests.ui.browsing import until
from tests.ui.present.test_present import ATTACKS
from tests.ui.widget.double import Double, double
from tests.ui.widget.hosting import Host, calling, hosting

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture
def server() -> Iterator[Double]:
    with double() as made:
        yield made


@pytest.fixture
def host(server: Double) -> Iterator[Host]:
    with hosting() as page:
        page.server, page.key = server.url, "key"
        yield page


def eventually(true: Callable[[], Any], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_cut_line_can_be_tried_again_and_stays_one_question(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.say("drop it")
        problem = caller.page.locator(".entry.problem")
        expect(problem).to_contain_text("The connection was lost.")
        problem.get_by_role("button", name="Try again").click()
        expect(caller.page.locator(".entry.assistant .foot")).to_have_count(1)
        expect(caller.page.locator(".entry.visitor")).to_have_count(1)
        expect(problem).to_have_count(0)
        first, second = server.asked
        assert first["once"] == second["once"], "it may have arrived the first time"


def test_a_refusal_counts_down_until_one_can_come_back(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.say("busy?")
        problem = caller.page.locator(".entry.problem")
        expect(problem).to_contain_text("You can try again in 2 s.")
        again = problem.get_by_role("button", name="Try again")
        expect(again).to_be_disabled()
        expect(problem).to_contain_text("in 1 s.")
        expect(again).to_be_enabled()
        again.click()
        expect(caller.page.locator(".entry.assistant .foot")).to_have_count(1)
        assert len({asked["once"] for asked in server.asked}) == 2, "what was refused is asked anew"


def test_a_token_that_is_over_is_renewed_without_a_word(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.ask("first")
        server.tokens.clear()
        caller.ask("second")
        sessions = [body for path, body in server.calls if path == "session"]
        assert [body["visitor"] for body in sessions] == [None, "visitor-secret"]
        assert [asked["text"] for asked in server.asked] == ["first", "second"]


def test_a_live_line_that_is_cut_is_taken_up_where_it_was(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.page.get_by_role("button", name="Talk to a person").click()
        caller.page.get_by_role("button", name="Ask for a person").click()
        server.state = {"state": "person", "agent": "Mara"}
        server.say("agent", "one", "Mara")
        expect(caller.page.locator(".entry.agent")).to_have_count(1)
        server.cut += 1
        server.say("agent", "two", "Mara")
        expect(caller.page.locator(".entry.agent")).to_have_count(2)
        afters = [int(body["after"]) for path, body in server.calls if path == "live"]
        assert afters[-1] >= 1 and len(afters) >= 2
        expect(caller.page.locator(".banner")).to_be_hidden()


def test_own_words_to_a_person_are_shown_once(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.page.get_by_role("button", name="Talk to a person").click()
        caller.page.get_by_role("button", name="Ask for a person").click()
        server.state = {"state": "person", "agent": "Mara"}
        expect(caller.page.locator(".status")).to_have_text("You are talking to a person: Mara")
        for text in ("same", "same", "other"):
            caller.say(text)
        eventually(lambda: len(server.entries) == 3)
        server.say("agent", "done", "Mara")
        expect(caller.page.locator(".entry.agent")).to_have_count(1)
        assert caller.page.locator(".entry.visitor .bubble").all_inner_texts() == ["same", "same", "other"]
        expect(caller.page.locator(".entry.assistant")).to_have_count(0)


def test_whoever_is_offline_is_told_and_keeps_what_they_typed(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.context.set_offline(True)
        expect(caller.page.locator(".banner")).to_have_text("You are offline.")
        caller.say("kept")
        expect(caller.input).to_have_value("kept")
        caller.context.set_offline(False)
        expect(caller.page.locator(".banner")).to_be_hidden()
        caller.input.press("Enter")
        expect(caller.page.locator(".entry.assistant .foot")).to_have_count(1)
        assert [asked["text"] for asked in server.asked] == ["kept"]


def test_stopping_cuts_the_line_at_once_and_keeps_the_words(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.say("slow please")
        writing = caller.page.locator(".entry.assistant")
        expect(writing).to_contain_text("lever Use")
        caller.input.fill("and this?")
        caller.input.press("Enter")
        expect(caller.input).to_have_value("and this?")
        caller.page.get_by_role("button", name="Stop").click()
        expect(writing).to_contain_text("Stopped.")
        expect(writing).to_contain_text("lever")
        eventually(lambda: server.stopped == 1, 2.0)
        caller.input.press("Enter")
        expect(caller.page.locator(".entry.assistant .foot")).to_have_count(1)


def test_a_new_conversation_gives_up_the_one_being_answered(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        caller.say("slow please")
        expect(caller.page.locator(".entry.assistant")).to_contain_text("lever")
        caller.page.get_by_role("button", name="New conversation").click()
        eventually(lambda: server.stopped == 1, 2.0)
        expect(caller.page.locator(".entry.visitor, .entry.assistant")).to_have_count(0)
        caller.ask("fresh")
        assert server.asked[-1]["conversation"] is None
        expect(caller.page.locator(".entry.visitor")).to_have_count(1)


def test_words_that_are_withdrawn_are_gone(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        answer = caller.ask("withdraw it")
        expect(answer.locator(".prose").first).to_have_text("Use the red lever 1.pullwait")


def test_a_screen_reader_hears_whole_answers_and_no_single_words(browser: Browser, host: Host) -> None:
    heard = """
    window.heard = [];
    customElements.whenDefined("rungs-chat").then(() => setTimeout(() => {
      const region = document.querySelector("rungs-chat").shadowRoot.querySelector("[aria-live=polite]");
      const hear = () => region.textContent && heard.push(region.textContent);
      new MutationObserver(hear).observe(region, { childList: true });
    }, 0));
    """
    with calling(browser, host, script=heard) as caller:
        caller.open()
        caller.ask("read it to me")
        until(caller.page, "heard.length > 0")
        assert caller.page.evaluate("heard") == ["Assistant: Use the red lever [1].\n\n- pull\n- wait"]
        assert caller.page.locator("[role=log]").get_attribute("aria-live") == "off"


@pytest.mark.parametrize(
    ("status", "code", "told"), [(429, "busy", "too many questions"), (503, "stopping", "The server is stopping.")]
)
def test_a_session_that_is_refused_can_be_had_later(
    status: int, code: str, told: str, browser: Browser, host: Host, server: Double
) -> None:
    error = {"error": {"message": "The server is stopping.", "code": code}}
    server.refuse = JSONResponse(error, status, {"retry-after": "1"})
    with calling(browser, host) as caller:
        caller.open()
        problem = caller.page.locator(".entry.problem")
        expect(problem).to_contain_text(told)
        problem.get_by_role("button", name="Try again").click()
        expect(caller.page.locator(".head h2")).to_have_text("Lamp support")
        caller.ask("now")


def test_nothing_is_kept_of_whoever_only_passes_by(browser: Browser, host: Host) -> None:
    with calling(browser, host) as caller:
        until(caller.page, "Boolean(window.Rungs)")
        assert caller.kept("key") is None
        caller.open()
        assert caller.kept("key") == {"visitor": "visitor-secret"}


BLOCKED = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } });"


def test_a_browser_that_keeps_nothing_is_served_all_the_same(browser: Browser, host: Host) -> None:
    with calling(browser, host, script=BLOCKED) as caller:
        caller.open()
        caller.ask("first")
        caller.page.get_by_role("button", name="New conversation").click()
        caller.ask("second")


def test_hostile_fields_of_an_answer_are_only_words(browser: Browser, host: Host, server: Double) -> None:
    with calling(browser, host) as caller:
        caller.open()
        for attack in ATTACKS[:40]:
            answer = caller.ask(f"hostile {attack}")
            answer.locator("summary").click()
        for attack in ATTACKS[:40]:
            server.say("agent", attack, attack)
        server.say("system", ATTACKS[0])
        server.state = {"state": "person", "agent": ATTACKS[0]}
        caller.page.reload()
        caller.open()
        expect(caller.page.locator(".entry.agent")).to_have_count(40)
        drawn = caller.page.locator(
            ".panel :is(img, script, iframe, style, object, embed, video, audio, link, base, meta)"
        )
        assert drawn.count() == 0
        hrefs = caller.page.locator(".panel a").evaluate_all("all => all.map((a) => a.protocol)")
        assert set(hrefs) <= {"http:", "https:"}
