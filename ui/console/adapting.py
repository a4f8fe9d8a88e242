"""The owner's tab of adaptation (Gradio): review examples, train and watch, read the gate, promote, go back, compare.

What happens is what the commands do; this page calls them and formats. A training goes on when the page is closed, and
is found again after a reload. Mounted by `page.py`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from adapters import job
from adapters.errors import AdapterError
from assistant.adapting import jobs, planning
from assistant.adapting.comparing import BASE
from assistant.adapting.judging import samples_path
from assistant.erasure import erased_since
from assistant.errors import AssistantError
from ui import present
from ui.cli.printing import UNCALIBRATED
from ui.commands.adapting import preview_document
from ui.commands.examples import examples_of
from ui.control import EXPECTED, run_command
from ui.present import adapting as present_adapting

if TYPE_CHECKING:
    from assistant.build import Rungs

OWNER = "owner"
CONSENT = "Whoever asked agreed to its use for training, or nothing in it is anybody's own"
POLL_SECONDS = 1.0
REVIEW_COLUMNS = ("Made", "Question", "Correction", "Difference", "Consent", "State")
ADAPTER_COLUMNS = ("Adapter", "Revision", "Stage", "Gate", "Made", "Loss")
NO_CORRECTION = '<p class="empty">Choose a row to see what was changed.</p>'
NO_ADAPTER = '<p class="empty">Choose an adapter to read its card and its gate report.</p>'
NO_JOB = '<p class="empty">Nothing has been trained here yet.</p>'
OVER = ("done", "failed", "cancelled", "waiting")


@dataclass(frozen=True, slots=True)
class Adapting:
    """The tab's handlers. Each ends in HTML; what goes wrong is said on the page."""

    rungs: Rungs

    # review

    def waiting(self, state: str) -> tuple[list[list[str]], list[str], str]:
        """Corrections in a state, their ids, and how many there are of each."""
        found = self.rungs.corrections.find(None if state == "all" else state)  # type: ignore[arg-type]
        rows = [
            [
                one.made_at[:16].replace("T", " "),
                one.question[:200],
                one.correction[:200],
                f"{one.distance:.0%}",
                "yes" if one.consent else "no",
                one.state,
            ]
            for one in found
        ]
        counts = ", ".join(f"{count} {name}" for name, count in self.rungs.corrections.counts().items())
        told = counts if found else f"{counts}. Correct an answer under Conversations to fill this list."
        return rows, [one.id for one in found], told

    def chosen(self, ids: Sequence[str], event: gr.SelectData) -> tuple[str, str]:
        """A correction with what was changed, and its id."""
        id = _row(ids, event)
        found = next((one for one in self.rungs.corrections.find() if one.id == id), None)
        return (present_adapting.correction_html(found), found.id) if found else (NO_CORRECTION, "")

    def reviewed(self, id: str, approve: bool, consent: bool, by: str) -> str:
        """Approve or reject what is shown."""
        if not id:
            return present.problem_html("Choose a row first.")
        arguments = {"id": id, "approve": approve, "consent": consent and approve, "by": by}
        result = self._do("examples-review", arguments)
        if isinstance(result, str):
            return result
        found = next(one for one in self.rungs.corrections.find() if one.id == id)
        return present_adapting.correction_html(found)

    # training

    def previewed(self, name: str, corrections: bool, data: str | None, request: gr.Request) -> str:
        """What would be trained on."""
        try:
            planned = self._planned(name, corrections, data, 1, person(request))
        except EXPECTED as error:
            return present.problem_html(str(error))
        jobs.discard(planned.folder)
        return present_adapting.preview_html(preview_document(planned))

    def started(
        self, name: str, corrections: bool, data: str | None, epochs: float, request: gr.Request
    ) -> tuple[str, Any]:
        """Start a training; whoever comes back later sees it, too."""
        try:
            running = next((path for path in jobs.jobs(self.rungs.settings.home) if job.is_running(path)), None)
            if running:
                raise AdapterError(f"{running.name} is being trained. Wait for it, or stop it.")
            planned = self._planned(name, corrections, data, int(epochs), person(request))
            jobs.start(planned.folder)
        except EXPECTED as error:
            return present.problem_html(str(error)), gr.skip()
        return self.watched()

    def stopped(self) -> tuple[str, Any]:
        """Ask the running training to save and stop."""
        for folder in jobs.jobs(self.rungs.settings.home)[:1]:
            job.cancel(folder)
        return self.watched()

    def resumed(self) -> tuple[str, Any]:
        """Go on with the latest training that is not over."""
        try:
            latest = jobs.jobs(self.rungs.settings.home)[:1]
            if not latest or job.state(latest[0])["stage"] == "done":
                raise AdapterError("there is no training to go on with.")
            jobs.start(latest[0])
        except EXPECTED as error:
            return present.problem_html(str(error)), gr.skip()
        return self.watched()

    def watched(self) -> tuple[str, Any]:
        """How far the latest training is, and whether to look again."""
        latest = jobs.jobs(self.rungs.settings.home)[:1]
        if not latest:
            return NO_JOB, gr.Timer(active=False)
        state = job.state(latest[0])
        running = state["stage"] not in OVER
        if running and state["stage"] != "starting" and not job.is_running(latest[0]):
            state |= {"reason": "its process died; go on with it"}
        return present_adapting.job_html(latest[0].name, state), gr.Timer(active=running)

    def _planned(self, name: str, corrections: bool, data: str | None, epochs: int, by: str) -> planning.Plan:
        from adapters.job import Recipe

        if not (corrections or data):
            raise AdapterError("there is nothing to train on: choose approved corrections, a file, or both.")
        rows = examples_of(self.rungs, {"corrections": corrections, "data": data, "by": by})
        return planning.plan(self.rungs, rows, name.strip(), Recipe(epochs=epochs))

    # adapters

    def listed(self) -> tuple[list[list[str]], list[tuple[str, str]], Any, Any]:
        """Every revision, newest first, and the sides that can be compared."""
        try:
            listing = self.rungs.registry.list()
        except (AdapterError, AssistantError):
            return [], [], gr.skip(), gr.skip()
        cards = sorted(listing.cards, key=lambda card: card.created_at, reverse=True)
        rows = [
            [
                card.name,
                card.revision,
                card.stage,
                present_adapting.VERDICTS[card.gate.verdict] if card.gate else "-",
                card.created_at[:16].replace("T", " "),
                "-" if card.loss_last is None else f"{card.loss_last:.2f}",
            ]
            for card in cards
        ]
        names = [(card.name, card.revision) for card in cards]
        sides = [BASE, *(f"{name}@{revision}" for name, revision in names)]
        return rows, names, gr.Dropdown(sides, value=BASE), gr.Dropdown(sides, value=sides[min(1, len(sides) - 1)])

    def opened(self, names: Sequence[tuple[str, str]], event: gr.SelectData) -> tuple[str, tuple[str, str] | None]:
        """A revision's card with the gate's report and sample answers."""
        chosen = _row(names, event)
        return self._card(chosen), chosen

    def decided(self, chosen: tuple[str, str] | None, what: str, reason: str, by: str) -> str:
        """Promote, roll back or retire what is shown; takes effect at once."""
        if not chosen:
            return present.problem_html("Choose an adapter first.")
        arguments = {"name": chosen[0], "revision": chosen[1], "reason": reason.strip() or None, "by": by}
        result = self._do(f"adapters-{what}", arguments)
        if isinstance(result, str):
            return result
        done = {"promote": "is live", "rollback": "is live again", "retire": "is retired"}[what]
        told = f"{result['name']} {result['revision']} {done}, after {result['seconds']:.1f} s."
        hint = f"<p>{present.escaped(UNCALIBRATED)}</p>" if result["calibrated"] is False else ""
        return f'<p class="told" role="status">{present.escaped(told)}</p>{hint}' + self._card(chosen)

    def compared(self, one: str, other: str, question: str) -> Iterator[str]:
        """Two revisions side by side on one question."""
        if not question.strip():
            yield present.problem_html("Type a question first.")
            return
        yield '<p class="empty" role="status">Asking both sides …</p>'
        result = self._do("adapters-compare", {"sides": [one, other], "question": question})
        if isinstance(result, str):
            yield result
            return
        said = {
            f"{answer['side']} · {answer['seconds']:.1f} s{' · declines' if answer['declines'] else ''}": answer["text"]
            for answer in result["answers"]
        }
        yield present_adapting.sides_html(said)

    def _card(self, chosen: tuple[str, str] | None) -> str:
        if not chosen:
            return NO_ADAPTER
        try:
            card = self.rungs.registry.show(*chosen)
        except (AdapterError, AssistantError) as error:
            return present.problem_html(str(error))
        samples = []
        with suppress(OSError, ValueError):
            path = samples_path(self.rungs.settings.home, *chosen)
            samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return present_adapting.card_html(card, samples, erased_since(self.rungs.engine, card.created_at))

    def _do(self, command: str, arguments: dict[str, Any]) -> dict[str, Any] | str:
        """A command's result, or what went wrong as HTML."""
        *_, last = run_command(self.rungs, command, arguments, threading.Event())
        return dict(last["result"]) if "result" in last else present.problem_html(last["error"])


def build_tab(rungs: Rungs, blocks: gr.Blocks) -> None:
    """The tab's components and what they do."""
    tab = Adapting(rungs)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Tab("Review"):
        _review(tab, blocks, quiet)
    with gr.Tab("Train"):
        _train(tab, blocks, quiet)
    with gr.Tab("Adapters"):
        _adapters(tab, blocks, quiet)


def _review(tab: Adapting, blocks: gr.Blocks, quiet: dict[str, Any]) -> None:
    with gr.Row(elem_classes="filters"):
        state = gr.Radio(["waiting", "approved", "rejected", "all"], value="waiting", label="Show")
        refresh = gr.Button("Refresh", size="sm", elem_id="review-refresh")
    told = gr.Markdown(elem_id="review-told")
    table = gr.Dataframe(
        headers=list(REVIEW_COLUMNS), interactive=False, wrap=True, max_height=300, elem_id="review", datatype="str"
    )
    ids, chosen = gr.State([]), gr.State("")
    shown = gr.HTML(NO_CORRECTION, elem_id="review-shown")
    consent = gr.Checkbox(
        label="Whoever asked agreed to its use for training, or nothing in it is anybody's own",
        elem_id="review-consent",
    )
    with gr.Row(elem_classes="box-buttons"):
        reject = gr.Button("Reject", size="sm", elem_id="review-reject")
        approve = gr.Button("Approve", size="sm", variant="primary", elem_id="review-approve")
    listing: dict[str, Any] = {"fn": tab.waiting, "inputs": state, "outputs": [table, ids, told], **quiet}
    for start in (refresh.click, state.change, blocks.load):
        start(**listing)
    table.select(tab.chosen, ids, [shown, chosen], **quiet)
    for button, verdict in ((approve, True), (reject, False)):
        done = button.click(_reviews(tab, verdict), [chosen, consent], shown, **quiet)
        done.then(**listing)


def _train(tab: Adapting, blocks: gr.Blocks, quiet: dict[str, Any]) -> None:
    with gr.Row():
        name = gr.Textbox(label="Name of the adapter", value="house-style", elem_id="train-name")
        epochs = gr.Slider(1, 10, value=1, step=1, label="Epochs: how often each row is seen")
    with gr.Row():
        corrections = gr.Checkbox(value=True, label="Approved corrections", elem_id="train-corrections")
        data = gr.File(label="And rows of a file (JSONL or CSV)", file_types=[".jsonl", ".csv"], elem_id="train-data")
    with gr.Row(elem_classes="box-buttons"):
        look = gr.Button("Look at the rows", size="sm", elem_id="train-look")
        start = gr.Button("Start training", size="sm", variant="primary", elem_id="train-start")
        stop = gr.Button("Stop", size="sm", variant="stop", elem_id="train-stop")
        resume = gr.Button("Go on", size="sm", elem_id="train-resume")
    preview = gr.HTML(elem_id="train-preview")
    progress = gr.HTML(NO_JOB, elem_id="train-progress")
    timer = gr.Timer(POLL_SECONDS, active=False)
    rows: list[Any] = [name, corrections, data]
    look.click(tab.previewed, rows, preview, api_visibility="private")
    start.click(tab.started, [*rows, epochs], [progress, timer], api_visibility="private")
    stop.click(tab.stopped, None, [progress, timer], **quiet)
    resume.click(tab.resumed, None, [progress, timer], **quiet)
    for event in (timer.tick, blocks.load):
        event(tab.watched, None, [progress, timer], **quiet)


def _adapters(tab: Adapting, blocks: gr.Blocks, quiet: dict[str, Any]) -> None:
    with gr.Row(elem_classes="box-buttons"):
        refresh = gr.Button("Refresh", size="sm", elem_id="adapters-refresh")
    table = gr.Dataframe(
        headers=list(ADAPTER_COLUMNS), interactive=False, wrap=True, max_height=300, elem_id="adapters", datatype="str"
    )
    names, chosen = gr.State([]), gr.State(None)
    reason = gr.Textbox(label="Reason (needed where the gate did not accept it)", elem_id="adapter-reason")
    with gr.Row(elem_classes="box-buttons"):
        promote = gr.Button("Promote", size="sm", variant="primary", elem_id="adapter-promote")
        back = gr.Button("Roll back", size="sm", elem_id="adapter-rollback")
        retire = gr.Button("Retire", size="sm", elem_id="adapter-retire")
    shown = gr.HTML(NO_ADAPTER, elem_id="adapter-shown")
    with gr.Accordion("Compare two revisions on one question", open=False):
        with gr.Row():
            one, other = gr.Dropdown([BASE], label="One side"), gr.Dropdown([BASE], label="Other side")
        question = gr.Textbox(label="Question", elem_id="compare-question")
        compare = gr.Button("Compare", size="sm", elem_id="compare")
        said = gr.HTML(elem_id="compared")
    listing: dict[str, Any] = {"fn": tab.listed, "inputs": None, "outputs": [table, names, one, other], **quiet}
    for start in (refresh.click, blocks.load):
        start(**listing)
    table.select(tab.opened, names, [shown, chosen], **quiet)
    for button, what in ((promote, "promote"), (back, "rollback"), (retire, "retire")):
        button.click(_decides(tab, what), [chosen, reason], shown, api_visibility="private").then(**listing)
    for event in (compare.click, question.submit):
        event(tab.compared, [one, other, question], said, api_visibility="private")


def _reviews(tab: Adapting, approve: bool) -> Any:
    def review(id: str, consent: bool, request: gr.Request) -> str:
        return tab.reviewed(id, approve, consent, person(request))

    return review


def _decides(tab: Adapting, what: str) -> Any:
    def decide(chosen: tuple[str, str] | None, reason: str, request: gr.Request) -> str:
        return tab.decided(chosen, what, reason, person(request))

    return decide


def person(request: gr.Request) -> str:
    """Who uses the page: the account that is logged in, or the owner of a machine without accounts."""
    who = request.request.scope.get("rungs.who") if request.request else None
    return str(who.name) if who else OWNER


def _row(rows: Sequence[Any], event: gr.SelectData) -> Any:
    """What stands behind the row that was selected; None where there is none."""
    index = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
    return rows[index] if index < len(rows) else None
