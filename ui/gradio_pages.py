"""How a page of Gradio's is mounted: hardened, in our colours, with its own style and script where it has them.

Nothing of a page is an API, nobody watches or shares it, and its errors tell nothing. Called by `server.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(__file__).parent / "static"
OWN = "/own"
"""Where the files of STATIC are served."""
FILE_MAX = "64mb"
"""Of a file that is dropped on the console: a document, or training rows."""
LOOKS_SECONDS = 0.02
"""How often a page's queue looks for events. Gradio's own millisecond costs 7 % of a core on an idle server."""


def mounted(app: FastAPI, blocks: Any, path: str, waiting_max: int, at_once: int) -> FastAPI:
    """The application with a page under a path.

    Args:
        app: gets it.
        blocks: the page.
        path: where it is reached.
        waiting_max: events that may wait; later ones are told that it is busy.
        at_once: events of one kind that run side by side.
    """
    import gradio as gr

    from assistant.attachments import BYTES_MAX

    blocks.queue(max_size=waiting_max, default_concurrency_limit=at_once, api_open=False)
    blocks._queue.sleep_when_free = LOOKS_SECONDS
    blocks._queue.progress_update_sleep_when_free = 5 * LOOKS_SECONDS
    whole: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
        path,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size={"/": BYTES_MAX, "/console": FILE_MAX}.get(path, "1kb"),
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        favicon_path=str(STATIC / "icon.svg") if path == "/" else None,
        theme=gr.themes.Soft(
            primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css_paths=[STATIC / "rungs.css", *_own(path, "css")],
        head="".join(_script(file) for file in (STATIC / "keys.js", *_own(path, "js"))),
    )
    return whole


def _own(path: str, kind: str) -> tuple[Path, ...]:
    """A page's own style or script, beside what all pages have."""
    file = STATIC / f"{path.strip('/')}.{kind}"
    return (file,) if file.is_file() else ()


def _script(file: Path) -> str:
    """From an address, since an inline script that comes into the page later is not run; anew once it changed."""
    version = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    return f'<script src="{OWN}/{file.name}?{version}"></script>'
