"""The owner's tab of settings and health (Gradio): what is in force and where it comes from, and `rungs doctor`.

Changes nothing: settings are read once, at the start. Mounted by `page.py`.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.settings import origins_of
from ui import present
from ui.background import Background
from ui.console.adapting import person
from ui.control import EXPECTED
from ui.present.settings import health_html, in_force_html, settings_html

if TYPE_CHECKING:
    from assistant.build import Rungs

POLL_SECONDS = 0.7
GIB = 1024**3
DOCTOR = "doctor"
PACKAGES = ("rungs", "gradio", "chromadb", "fastapi")
QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True, slots=True)
class SettingsDesk:
    """The tab's handlers."""

    rungs: Rungs
    background: Background
    origins: Mapping[str, str]
    """Where each setting came from when the server started."""

    def in_force(self) -> str:
        """What answers, by version; index, disk and packages."""
        rungs, store = self.rungs, self.rungs.store
        versions = dict(rungs.assistant.versions())
        room = shutil.disk_usage(rungs.settings.home)
        told = {
            "Model": f"{versions['model_name']} ({versions['model']})",
            "Adapter": versions["adapter"],
            "Calibration": f"{versions['calibration']}, made from {rungs.calibration.made_from}",
            "Index": f"{store.degraded or 'in order'}; {store.count():,} passages, version {store.index_version}",
            "Embedder": versions["embedder"],
            "Level rag": f"answers by {versions['rag_answers_by']}",
            "Home": f"{rungs.settings.home.resolve()}: {room.free / GIB:.1f} of {room.total / GIB:.1f} GiB free",
            "Versions": f"Python {platform.python_version()}, "
            + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        }
        return in_force_html(told, rungs.calibration, versions)

    def listed(self) -> tuple[str, str]:
        """What is in force, and every setting."""
        return self.in_force(), settings_html(self.rungs.settings, self.origins)

    def examined(self, by: str) -> tuple[str, Any]:
        """Begin to look; it goes on when the page is closed."""
        try:
            self.background.start(DOCTOR, "Examining", DOCTOR, {}, by)
        except EXPECTED as error:
            return present.problem_html(str(error)), gr.skip()
        return self.watched()

    def watched(self) -> tuple[str, Any]:
        """What was found so far, and whether to look again."""
        job = self.background.job(DOCTOR)
        return health_html(job), gr.Timer(active=bool(job and job.running))


def build_tab(rungs: Rungs, background: Background) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = SettingsDesk(rungs, background, origins_of(rungs.settings))
    with gr.Tab("Health"):
        with gr.Row(elem_classes="told-row"):
            examine = gr.Button("Examine", size="sm", variant="primary", elem_id="health-examine")
        health = gr.HTML(elem_id="health")
        gr.HTML("<h2>In force</h2>")
        force = gr.HTML(elem_id="in-force")
    with gr.Tab("Settings in force"):
        gr.HTML(
            '<p class="sure">Settings are read once, at the start: from flags, then the environment (RUNGS_…), then '
            "rungs.toml. rungs.example.toml lists them all.</p>"
        )
        shown = gr.HTML(elem_id="settings")
    timer = gr.Timer(POLL_SECONDS, active=False)

    def examines(request: gr.Request) -> tuple[str, Any]:
        return desk.examined(person(request))

    examine.click(examines, None, [health, timer], **QUIET)
    watching: dict[str, Any] = {"fn": desk.watched, "inputs": None, "outputs": [health, timer], **QUIET}
    timer.tick(**watching)
    return [watching, {"fn": desk.listed, "inputs": None, "outputs": [force, shown], **QUIET}]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "from a checkout"
