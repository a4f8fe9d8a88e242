"""The owner's tab of knowledge (Gradio): drop files and watch them being read, browse, remove, rebuild, add an answer.

Long work goes on when the page is closed, and is found again after a reload (`background.py`). Mounted by `page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant import uploads
from assistant.answer_pairs import ANSWER_MAX, ANSWERS, QUESTION_MAX, add_pair
from assistant.errors import AssistantError
from knowledge.loaders import LOADERS
from ui import present
from ui.background import Background
from ui.console.adapting import person
from ui.console.ranking import build_ranking
from ui.control import EXPECTED
from ui.present.knowledge import documents_html, job_html, passages_html, source_words, sources_html
from ui.present.tables import told

if TYPE_CHECKING:
    from assistant.build import Rungs

KINDS = ("ingest", "reindex")
POLL_SECONDS = 0.7
SUFFIXES = [suffix for loader in LOADERS for suffix in loader.suffixes]
QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
BUSY: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
Chosen = tuple[str, str | None]
"""A source, and one of its documents or all of it."""


@dataclass(frozen=True, slots=True)
class KnowledgeDesk:
    """The tab's handlers. Each ends in HTML; what goes wrong is said on the page."""

    rungs: Rungs
    background: Background

    @property
    def home(self) -> Path:
        """The home of everything."""
        return self.rungs.settings.home

    # what is known

    def listed(self, source: str | None) -> tuple[str, Any, Any]:
        """The sources, and what can be chosen of them."""
        store = self.rungs.store
        found = store.sources()
        choices = [(source_words(self.home, one.source), one.source) for one in found]
        known = [one.source for one in found]
        chosen = source if source in known else None
        documents = [one.path for one in store.documents(chosen)] if chosen else []
        return (
            sources_html(self.home, found, store.degraded),
            gr.Dropdown(choices, value=chosen),
            gr.Dropdown(documents, interactive=bool(documents)),
        )

    def source_chosen(self, source: str | None) -> tuple[Any, str]:
        """The documents of a source."""
        documents = self.rungs.store.documents(source) if source else ()
        paths = [one.path for one in documents]
        return gr.Dropdown(paths, value=None, interactive=bool(paths)), documents_html(documents)

    def document_chosen(self, source: str | None, document: str | None) -> str:
        """The passages of a document, or the documents where none is chosen."""
        if not source:
            return ""
        if not document:
            return documents_html(self.rungs.store.documents(source))
        return passages_html(self.rungs.store.passages(source, document))

    # taking in

    def dropped(self, files: Sequence[str] | None, name: str, by: str) -> str:
        """Keep the files and begin to read them."""
        try:
            if not files:
                raise AssistantError("there is no file yet. Drop some first.")
            folder = uploads.folder_of(self.home, name.strip())
            for file in files:
                with Path(file).open("rb") as content:
                    uploads.keep(self.home, name.strip(), Path(file).name, content)
            self._begin("ingest", f"Reading {name.strip()}", {"paths": [str(folder)]}, by)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return told(f"{len(files)} file{'' if len(files) == 1 else 's'} kept. Reading goes on if you close the page.")

    def read_again(self, source: str | None, by: str) -> str:
        """Look for changes in a source."""
        try:
            if not source:
                raise AssistantError("choose a source first.")
            if not Path(source).is_absolute():
                raise AssistantError(f"{source} came with Rungs; there is nothing to read again.")
            self._begin("ingest", f"Reading {source_words(self.home, source)}", {"paths": [source]}, by)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return ""

    def reindexed(self, by: str) -> str:
        """Rebuild keywords and index from the catalogue."""
        try:
            self._begin("reindex", "Rebuilding the index", {}, by)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return ""

    def paired(self, question: str, answer: str, by: str) -> str:
        """Keep a question with its answer."""
        try:
            document = add_pair(self.rungs.store, self.home, question, answer, by)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return told(f"Kept as {document} in source {ANSWERS}. It can be found from now on.")

    def watched(self) -> tuple[str, Any, Any, bool]:
        """How far long work is, whether it can be stopped, and whether to look again."""
        jobs = [job for job in map(self.background.job, KINDS) if job]
        running = any(job.running for job in jobs)
        html = "".join(job_html(job) for job in jobs)
        return html, gr.Button(visible=running), gr.Timer(active=running), running

    def stopped(self) -> tuple[str, Any, Any, bool]:
        """Ask what runs to stop."""
        for kind in KINDS:
            self.background.cancel(kind)
        return self.watched()

    # removing

    def doomed(self, source: str | None, document: str | None, whole: bool) -> tuple[str, Any, Chosen | None]:
        """Ask before something is removed."""
        if not source or (not whole and not document):
            what = "a source" if whole else "a source and a document"
            return present.problem_html(f"Choose {what} first."), gr.Column(visible=False), None
        name = source_words(self.home, source)
        count = len(self.rungs.store.documents(source))
        what = f"all {count} documents of {name}" if whole else f"{document} of {name}"
        uploaded = uploads.name_of(self.home, source) is not None
        files = "Its files here are deleted, too." if uploaded else "The files themselves stay where they are."
        question = f"Remove {what}? Nobody will get an answer from it any more. {files}"
        return f"<p>{present.escaped(question)}</p>", gr.Column(visible=True), (source, None if whole else document)

    def removed(self, chosen: Chosen | None) -> tuple[str, Any]:
        """Remove what was asked about."""
        if not chosen:
            return "", gr.Column(visible=False)
        source, document = chosen
        try:
            count = self.rungs.store.remove(source, None if document is None else [document])
            uploads.forget(self.home, source, document)
        except EXPECTED as error:
            return present.problem_html(str(error)), gr.Column(visible=False)
        return told(f"Removed {count} document{'' if count == 1 else 's'}."), gr.Column(visible=False)

    def _begin(self, kind: str, title: str, arguments: Mapping[str, Any], by: str) -> None:
        if any(job and job.running for job in map(self.background.job, KINDS)):
            raise AssistantError("other work on the knowledge is under way. Wait for it, or stop it.")
        self.background.start(kind, title, kind, arguments, by)


def build_tab(rungs: Rungs, background: Background) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = KnowledgeDesk(rungs, background)
    jobs = gr.HTML(elem_id="knowledge-jobs")
    stop = gr.Button("Stop", size="sm", variant="stop", visible=False, elem_id="knowledge-stop")
    timer, running = gr.Timer(POLL_SECONDS, active=False), gr.State(False)
    watching: dict[str, Any] = {"fn": desk.watched, "inputs": None, "outputs": [jobs, stop, timer, running], **QUIET}
    with gr.Tab("Sources") as sources:
        listing = _sources(desk, watching)
    with gr.Tab("Add"):
        _add(desk, watching, listing)
    with gr.Tab("Try a query"):
        build_ranking(rungs)
    timer.tick(**watching)
    stop.click(desk.stopped, None, watching["outputs"], **QUIET)
    for start in (running.change, sources.select):  # work that is quick has no time to be seen running
        start(**listing)
    return [watching, listing]


def _sources(desk: KnowledgeDesk, watching: dict[str, Any]) -> dict[str, Any]:
    with gr.Row(elem_classes="told-row"):
        refresh = gr.Button("Refresh", size="sm", elem_id="knowledge-refresh")
        rebuild = gr.Button("Rebuild the index", size="sm", elem_id="knowledge-reindex")
    known = gr.HTML(elem_id="knowledge-sources")
    with gr.Row(elem_classes="filters"):
        source = gr.Dropdown([], value=None, label="Source", elem_id="knowledge-source")
        document = gr.Dropdown([], value=None, label="Document", elem_id="knowledge-document")
    with gr.Row(elem_classes="box-buttons left"):
        again = gr.Button("Look for changes", size="sm", elem_id="knowledge-again")
        one = gr.Button("Remove the document …", size="sm", elem_id="knowledge-remove-document")
        whole = gr.Button("Remove the source …", size="sm", elem_id="knowledge-remove-source")
    said = gr.HTML(elem_id="knowledge-said")
    with gr.Column(visible=False, elem_id="knowledge-confirm", elem_classes="confirm") as confirm:
        asks = gr.HTML()
        with gr.Row(elem_classes="box-buttons"):
            no = gr.Button("Keep it", size="sm", elem_id="knowledge-keep")
            yes = gr.Button("Remove it", size="sm", variant="stop", elem_id="knowledge-remove")
    chosen = gr.State(None)
    shown = gr.HTML(elem_id="knowledge-shown")
    listing: dict[str, Any] = {"fn": desk.listed, "inputs": source, "outputs": [known, source, document], **QUIET}
    refresh.click(**listing)
    source.input(desk.source_chosen, source, [document, shown], **QUIET)
    document.input(desk.document_chosen, [source, document], shown, **QUIET)
    again.click(_by(desk.read_again), source, said, **QUIET).then(**watching)
    rebuild.click(_by_alone(desk.reindexed), None, said, **QUIET).then(**watching)
    for button, all_of_it in ((one, False), (whole, True)):
        button.click(_dooms(desk, all_of_it), [source, document], [asks, confirm, chosen, said], **QUIET)
    no.click(lambda: (gr.Column(visible=False), None), None, [confirm, chosen], **QUIET)
    gone = yes.click(desk.removed, chosen, [said, confirm], **QUIET).then(**listing)
    gone.then(desk.source_chosen, source, [document, shown], **QUIET)
    return listing


def _add(desk: KnowledgeDesk, watching: dict[str, Any], listing: dict[str, Any]) -> None:
    with gr.Row(elem_classes="halves"):
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>Files</h2>")
            name = gr.Textbox(
                label="Source", value="manuals", info="A name for where they belong: small letters, digits, - and _",
                max_length=64, elem_id="add-source",
            )  # fmt: skip
            files = gr.File(
                label="Drop documents here", file_count="multiple", file_types=SUFFIXES, height=150, elem_id="add-files"
            )
            add = gr.Button("Add to the knowledge", size="sm", variant="primary", elem_id="add-start")
            begun = gr.HTML(elem_id="add-told")
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>One answer</h2>")
            question = gr.Textbox(label="Question", max_length=QUESTION_MAX, elem_id="pair-question")
            answer = gr.Textbox(label="Answer", lines=5, max_length=ANSWER_MAX, elem_id="pair-answer")
            pair = gr.Button("Add the answer", size="sm", variant="primary", elem_id="pair-add")
            kept = gr.HTML(elem_id="pair-told")

    def drop(files: list[str] | None, name: str, request: gr.Request) -> str:
        return desk.dropped(files, name, person(request))

    def write(question: str, answer: str, request: gr.Request) -> str:
        return desk.paired(question, answer, person(request))

    started = add.click(drop, [files, name], begun, **BUSY)
    started.then(**watching)
    started.then(lambda: None, None, files, **QUIET)
    pair.click(write, [question, answer], kept, **BUSY).then(**listing)


def _by(work: Any) -> Any:
    def do(source: str | None, request: gr.Request) -> str:
        return str(work(source, person(request)))

    return do


def _by_alone(work: Any) -> Any:
    def do(request: gr.Request) -> str:
        return str(work(person(request)))

    return do


def _dooms(desk: KnowledgeDesk, whole: bool) -> Any:
    def doom(source: str | None, document: str | None) -> tuple[str, Any, Chosen | None, str]:
        html, group, chosen = desk.doomed(source, document, whole)
        return (html, group, chosen, "") if chosen else ("", group, None, html)

    return doom
