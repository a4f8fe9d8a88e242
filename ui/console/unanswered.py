"""The owner's tab of unanswered questions (Gradio): what got no good answer, grouped; write the answer, or ignore it.

Mounted by `page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.answer_pairs import ANSWER_MAX, QUESTION_MAX, add_pair
from assistant.gaps import Gap, GapFinder
from knowledge.errors import KnowledgeError
from ui import present
from ui.console.adapting import CONSENT, person
from ui.console.files import GAPS_CSV, GOLDEN, link
from ui.console.golden_file import add_golden, golden_file
from ui.console.overview import PERIODS, USUAL, since_of
from ui.control import EXPECTED
from ui.present.gaps import NO_GAP, NOT_CHOSEN, gap_html, gaps_html
from ui.present.tables import CHOOSES, empty, told

if TYPE_CHECKING:
    from assistant.build import Rungs

CLOSEST = 5
GAPS_SHOWN = 50
QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
BUSY: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


@dataclass(frozen=True, slots=True)
class Written:
    """What an owner wrote for a gap, and where it is to go besides the knowledge."""

    question: str
    answer: str
    golden: bool
    example: bool
    consent: bool


@dataclass(frozen=True, slots=True)
class UnansweredDesk:
    """The tab's handlers."""

    rungs: Rungs
    finder: GapFinder

    def listed(self, period: str, ignored: bool) -> tuple[str, str, str, Any]:
        """The gaps to choose from, how many there are, what stands below, and no gap chosen."""
        since = since_of(PERIODS[period], datetime.now(UTC))
        gaps = self.finder.find(since, ignored=ignored)
        count = sum(len(gap.questions) for gap in gaps)
        files = link(GAPS_CSV, "Download as CSV", since=since) if gaps else ""
        if golden_file(self.rungs.settings.home).is_file():
            files += link(GOLDEN, "Download the golden set that was written here")
        if not gaps:
            return "", empty(NO_GAP) + files, "", gr.Column(visible=False)
        shown = f", the first {GAPS_SHOWN} below" if len(gaps) > GAPS_SHOWN else ""
        said = f'<p class="sure">{len(gaps)} gaps with {count} questions{shown}, most asked and handed off first.</p>'
        return gaps_html(gaps[:GAPS_SHOWN]), said + files, NOT_CHOSEN, gr.Column(visible=False)

    def chosen(self, id: str, period: str) -> tuple[str, str, Any, str, str, Any]:
        """A gap with its closest documents, and what an answer starts from."""
        gap = self._gap(id, period)
        if gap is None:
            return "", NOT_CHOSEN, gr.Column(visible=False), "", "", gr.skip()
        try:
            closest = self.rungs.store.retrieve([gap.title], CLOSEST)
        except KnowledgeError:
            closest = ()
        verb = gr.Button("Bring it back" if gap.ignored else "Ignore it")
        return gap.id, gap_html(gap, closest), gr.Column(visible=True), gap.title[:QUESTION_MAX], "", verb

    def answered(self, id: str | None, period: str, written: Written, by: str) -> str:
        """Keep the answer as knowledge and, if wanted, as a golden row and as an example that waits for review."""
        gap = self._gap(id, period)
        if gap is None:
            return present.problem_html("Choose a gap first.")
        try:
            document = add_pair(self.rungs.store, self.rungs.settings.home, written.question, written.answer, by)
            also = []
            if written.golden:
                wordings = list(dict.fromkeys([written.question, *(one.text for one in gap.questions)]))
                add_golden(self.rungs.settings.home, wordings, written.answer, document)
                also.append(f"{len(wordings)} golden rows")
            if written.example:
                self.rungs.corrections.add(gap.id, written.answer, by, source="console", consent=written.consent)
                also.append("an example that waits for review")
            self.finder.decide(gap, "answered", by)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return told(f"Kept as {document}{', with ' + ' and '.join(also) if also else ''}.")

    def ignored(self, id: str | None, period: str, by: str) -> str:
        """Leave a gap out of the list, or bring it back."""
        gap = self._gap(id, period)
        if gap is None:
            return present.problem_html("Choose a gap first.")
        self.finder.decide(gap, None if gap.ignored else "ignored", by)
        return told("Back in the list." if gap.ignored else "Ignored, also when it is asked again.")

    def _gap(self, id: str | None, period: str) -> Gap | None:
        since = since_of(PERIODS[period], datetime.now(UTC))
        return next((gap for gap in self.finder.find(since, ignored=True) if id and gap.id == id), None)


def build_tab(rungs: Rungs) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = UnansweredDesk(rungs, GapFinder(rungs.engine, rungs.store.embedder))
    with gr.Row(elem_classes="filters"):
        period = gr.Radio(list(PERIODS), value=USUAL, label="Period", elem_id="gaps-period")
        ignored = gr.Checkbox(label="Show what was ignored", elem_id="gaps-ignored")
        refresh = gr.Button("Refresh", size="sm", elem_id="gaps-refresh")
    said = gr.HTML(elem_id="gaps-said")
    gaps, chosen = gr.HTML(elem_id="gaps", js_on_load=CHOOSES), gr.State("")
    done = gr.HTML(elem_id="gap-done")
    shown = gr.HTML(elem_id="gap-shown")
    with gr.Column(visible=False, elem_id="gap-answer", elem_classes="card") as box:
        gr.HTML("<h2>Write the answer</h2>")
        question = gr.Textbox(label="Question", max_length=QUESTION_MAX, elem_id="gap-question")
        answer = gr.Textbox(label="The answer", lines=5, max_length=ANSWER_MAX, elem_id="gap-text")
        golden = gr.Checkbox(label="Also measure with it: add its wordings to the golden set", elem_id="gap-golden")
        example = gr.Checkbox(label="Also train with it: keep it as an example for review", elem_id="gap-example")
        consent = gr.Checkbox(label=CONSENT, elem_id="gap-consent")
        with gr.Row(elem_classes="box-buttons"):
            ignore = gr.Button("Ignore it", size="sm", elem_id="gap-ignore")
            write = gr.Button("Add the answer", size="sm", variant="primary", elem_id="gap-write")
    filling: dict[str, Any] = {
        "fn": desk.listed,
        "inputs": [period, ignored],
        "outputs": [gaps, said, shown, box],
        **BUSY,
    }
    for start in (refresh.click, period.change, ignored.change):
        start(**filling)

    def opens(period: str, event: gr.EventData) -> tuple[str, str, Any, str, str, Any]:
        return desk.chosen(str(event.id), period)

    def writes(id: str, period: str, request: gr.Request, *written: Any) -> str:
        return desk.answered(id, period, Written(*written), person(request))

    def ignores(id: str, period: str, request: gr.Request) -> str:
        return desk.ignored(id, period, person(request))

    gaps.click(opens, period, [chosen, shown, box, question, answer, ignore], **QUIET)
    write.click(writes, [chosen, period, question, answer, golden, example, consent], done, **BUSY).then(**filling)
    ignore.click(ignores, [chosen, period], done, **QUIET).then(**filling)
    return [filling]
