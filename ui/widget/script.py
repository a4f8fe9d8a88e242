"""The widget as one plain script: its parts in order, small, with the style inside.

Reads `script/`; needs no build step: the server joins the parts once, when the script is first asked for. Each part
opens with what it does. Called by `pages.py`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "script"
PARTS = ("words", "build", "door", "thread", "writing", "talk", "sheets", "composer", "teaser", "panel", "start")
"""In the order in which each needs what stands before it."""

_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_SPACE = re.compile(r"\s+")
_AROUND = re.compile(r" ?([{};,>]) ?|(?<=:) ")


@dataclass(frozen=True, slots=True)
class Script:
    """What is served."""

    body: bytes
    gzipped: bytes
    etag: str
    """Changes with every change of the script."""


@cache
def widget_script() -> Script:
    """The script, made once per process."""
    from rjsmin import jsmin

    style = f"const STYLE = {json.dumps(_small_style((FOLDER / 'widget.css').read_text(encoding='utf-8')))};\n"
    parts = style + "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)
    body = str(jsmin(f'(() => {{\n"use strict";\n{parts}\n}})();\n')).encode()
    return Script(body, gzip.compress(body, 9, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def _small_style(style: str) -> str:
    """A style sheet without comments and needless white space (its strings hold none)."""
    return _AROUND.sub(lambda found: found.group(1) or "", _SPACE.sub(" ", _COMMENT.sub("", style))).strip()
