"""The sandboxed process: parses one file after another, within limits.

Memory and CPU time are limited, files cannot be written, connections and programs not be opened. Where the platform
has no such limits (Windows), the deadline that `sandbox.py` keeps holds alone. Started only by `sandbox.py`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from knowledge.errors import UnreadableDocument
from knowledge.types import Document

FORBIDDEN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
PARSERS = ("html", "pdf", "docx")
"""Modules beside this one that have `warm_up()` and `parse(path) -> Document`."""


def serve(memory_bytes: int, seconds: int) -> None:
    """Answer requests from standard input until it ends."""
    import os

    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    parsers = {name: _parser(name) for name in PARSERS}
    missing = ""
    try:
        for parser in parsers.values():
            parser.warm_up()
    except ImportError as error:
        missing = str(error)
    _limit_memory(memory_bytes)
    sys.addaudithook(_forbid)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        path = Path(request["path"])
        _limit_seconds(seconds)
        reply = _not_installed(path, missing) if missing else _reply(parsers[request["parser"]].parse, path)
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


def _parser(name: str) -> Any:
    import importlib

    return importlib.import_module(f"knowledge.loaders.{name}")


def _not_installed(path: Path, missing: str) -> dict[str, Any]:
    reason = f"the installation lacks a part ({missing}). Run `make setup`, then ingest it again."
    return {"refused": f"{path.name}: cannot be read: {reason}", "spent": True}


def _reply(parse: Callable[[Path], Document], path: Path) -> dict[str, Any]:
    """The parser's result in words. The worker's edge: whatever a parser raises is a refusal of the file.

    After a failure that was not foreseen the worker is "spent": its memory may be, too.
    """
    try:
        return asdict(parse(path))
    except UnreadableDocument as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": f"{path.name}: needs more memory than one file may take.", "spent": True}
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        return {"refused": f"{path.name}: is damaged or not what its name says ({reason}).", "spent": True}


def _forbid(event: str, _arguments: object) -> None:
    if event in FORBIDDEN:
        raise PermissionError(f"a document's parser tried {event}")


def _limit_memory(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + size, held + size))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_seconds(seconds: int) -> None:
    """CPU time for the next file; the limit counts from the process's start."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(
            resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, resource.RLIM_INFINITY)
        )


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
