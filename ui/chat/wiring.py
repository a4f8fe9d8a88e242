"""The chat page's events: which handler of `page.py` and `own.py` each button and key reaches. Decides nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.chat.turns import Turns

if TYPE_CHECKING:
    from ui.chat.own import OwnData
    from ui.chat.page import ChatPage

BUSY = "One answer at a time. Press Stop (or Esc) to ask something else."
REMEMBERED = (  # once the chat is on the page: what comes before that is lost on it
    "async () => { while (!document.querySelector('#chat [role=log]')) await new Promise((go) => setTimeout(go, 30)); "
    "return ['visitor', 'conversation'].map((name) => localStorage.getItem('rungs-' + name) || ''); }"
)
REMEMBER = (
    "(value) => { localStorage.setItem('rungs-%s', value || ''); "
    "window.dispatchEvent(new Event('rungs-remembered')); return []; }"
)
DOWNLOAD = (  # out of the page itself: there is no address that somebody else could open
    "(file) => { if (file) { const {name, text} = JSON.parse(file), link = document.createElement('a'); "
    "link.href = URL.createObjectURL(new Blob([text])); link.download = name; link.click(); "
    "setTimeout(() => URL.revokeObjectURL(link.href), 1000); } return ''; }"
)


def wire(page: ChatPage, own: OwnData, parts: Mapping[str, Any], blocks: gr.Blocks) -> None:
    """Events to handlers."""
    who, chat = parts["visitor"], parts["chatbot"]
    state = [parts["visitor"], parts["conversation"], parts["turns"]]
    shown = [parts["conversation"], parts["turns"], chat, parts["list"], parts["status"]]
    live = [parts["turns"], chat, parts["banner"]]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    pending, place = gr.State(""), gr.State(None)

    def chain(
        start: Any, read: Any, read_from: Any, read_to: Sequence[Any], answer: Any, inputs: Sequence[Any]
    ) -> None:
        """Read what was asked, show Stop, let the answer grow, hide Stop."""
        started = start(read, read_from, [*read_to, parts["stop"], parts["status"]], queue=False, **hidden)
        answered = started.then(answer, inputs, shown, **hidden)
        answered.then(stoppable, None, parts["stop"], queue=False, **hidden).then(page.refresh, state, live, **hidden)

    def stoppable(request: gr.Request) -> Any:
        return gr.update(visible=page.busy(request))

    def taken(question: str, request: gr.Request) -> tuple[str | None, Any, Any]:
        """The question (None while another is answered), the Stop button, the status line."""
        busy = page.busy(request)
        return None if busy else question, gr.update(visible=True), BUSY if busy else gr.skip()

    def typed(text: str, request: gr.Request) -> tuple[Any, ...]:
        question, *others = taken(text, request)
        return question, text if question is None else "", *others

    def chosen(event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        value = event.value
        return taken(str(value["text"] if isinstance(value, dict) and "text" in value else value), request)

    def retry(event: gr.RetryData, request: gr.Request) -> tuple[Any, ...]:
        return event.index, *taken("", request)

    def edit(event: gr.EditData, request: gr.Request) -> tuple[Any, ...]:
        return event.index, *taken(html.unescape(str(event.value)), request)

    asked, anew = [pending, *state], [place, pending, *state]
    chain(parts["text"].submit, typed, parts["text"], [pending, parts["text"]], page.ask, asked)
    chain(chat.example_select, chosen, None, [pending], page.ask, asked)
    chain(chat.option_select, chosen, None, [pending], page.ask, asked)
    chain(chat.retry, retry, None, [place, pending], page.again, anew)
    chain(chat.edit, edit, None, [place, pending], page.again, anew)
    parts["stop"].click(page.stop, None, None, queue=False, **hidden)
    blocks.unload(page.leave)
    # read when the page is there, not when Gradio's own browser state happens to be; kept as soon as it changes
    opened = blocks.load(page.open, [who, parts["conversation"]], [who, *shown], js=REMEMBERED, **hidden)
    opened.then(own.account, who, [parts["account"], parts["take_along"]], **hidden)
    parts["refresh"].click(page.refresh, state, live, queue=False, **hidden)
    for name in ("visitor", "conversation"):
        parts[name].change(None, parts[name], None, js=REMEMBER % name, **hidden)
    parts["list"].input(page.show, [who, parts["list"], parts["conversation"]], shown, **hidden)
    none = gr.State(None)
    for start in (parts["fresh"].click, chat.clear):
        start(page.show, [who, none, parts["conversation"]], shown, **hidden)
    _wire_people(page, parts, state, hidden)
    _wire_own(own, parts, shown, hidden)


def _wire_people(page: ChatPage, parts: Mapping[str, Any], state: Sequence[Any], hidden: dict[str, Any]) -> None:
    """Thumbs and the way to a person."""

    def rate(event: gr.LikeData, turns: Turns, conversation: str | None) -> tuple[Any, str, Any]:
        liked = event.liked is True or event.liked == "Like"
        return event.index, page.thumb(event.index, liked, turns, "", conversation), gr.update(visible=not liked)

    def explain(
        index: Any, reason: str | None, words: str, turns: Turns, conversation: str | None
    ) -> tuple[str, Any, str]:
        told = ": ".join(part for part in (reason or "", (words or "").strip()) if part)
        return page.thumb(index, False, turns, told, conversation), gr.update(visible=False), ""

    def pass_on(
        note: str, visitor: str, conversation: str | None, turns: Turns, request: gr.Request
    ) -> tuple[Any, str, Any, str]:
        conversation, told = page.contact(note or "", visitor, conversation, turns, request)
        return conversation, told, gr.update(visible=False), ""

    parts["chatbot"].like(
        rate,
        [parts["turns"], parts["conversation"]],
        [parts["rated"], parts["status"], parts["reason_box"]],
        queue=False,
        **hidden,
    )
    parts["reason_send"].click(
        explain,
        [parts["rated"], parts["reason"], parts["reason_text"], parts["turns"], parts["conversation"]],
        [parts["status"], parts["reason_box"], parts["reason_text"]],
        queue=False,
        **hidden,
    )
    boxes, closed = [parts["contact_box"], parts["reason_box"]], gr.update(visible=False)
    parts["contact"].click(lambda: (gr.update(visible=True), closed), None, boxes, queue=False, **hidden)
    for close in (parts["contact_close"], parts["reason_close"]):
        close.click(lambda: (closed, closed), None, boxes, queue=False, **hidden)
    parts["contact_send"].click(
        pass_on,
        [parts["note"], *state],
        [parts["conversation"], parts["status"], parts["contact_box"], parts["note"]],
        queue=False,
        **hidden,
    ).then(page.refresh, state, [parts["turns"], parts["chatbot"], parts["banner"]], **hidden)


def _wire_own(own: OwnData, parts: Mapping[str, Any], shown: Sequence[Any], hidden: dict[str, Any]) -> None:
    """Documents, downloads, deletion, the account."""
    mine, status = [parts["visitor"], parts["conversation"]], parts["status"]
    attach = parts["attach"]
    attach.upload(lambda: "Reading your document …", None, status, queue=False, **hidden).then(
        own.attach, [attach, *mine], [parts["conversation"], parts["attached"], status], **hidden
    ).then(lambda: None, None, attach, queue=False, **hidden)
    parts["attached"].input(own.keep, [parts["attached"], *mine], [parts["attached"], status], **hidden)
    parts["conversation"].change(own.attached, mine, parts["attached"], **hidden)
    for form in ("md", "json"):

        def exported(visitor: str, conversation: str, request: gr.Request, form: str = form) -> tuple[str, str]:
            return own.exported(form, visitor, conversation, request)

        parts[f"export_{form}"].click(exported, mine, [parts["file"], status], **hidden).then(
            None, parts["file"], parts["file"], js=DOWNLOAD, **hidden
        )
    for name, everything in (("erase_one", False), ("erase_all", True)):

        def erased(
            sure: bool, visitor: str, conversation: str, request: gr.Request, everything: bool = everything
        ) -> tuple[Any, ...]:
            return (*own.erased(everything, sure, visitor, conversation, request), False)

        told = [*shown, parts["data_told"], parts["sure"]]
        parts[name].click(erased, [parts["sure"], *mine], told, **hidden)
    parts["take_along"].click(own.taken_along, mine, [*shown, parts["take_along"], parts["data_told"]], **hidden)
