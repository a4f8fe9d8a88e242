"""How the log is written: as text or as JSON, to standard error, and a line for every question that came to an end.

What a question says stands in the log only where the setting `log_text` says so. Set up by `server.py`; a line for
every request comes from `requests.py`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ui.access.admission import tokens_of

if TYPE_CHECKING:
    from assistant.settings import Settings

OURS = ("ui", "assistant", "knowledge", "adapters")
"""Loggers that follow the setting `log_level`; other libraries are heard from WARNING on, since they log addresses."""
request_id: ContextVar[str] = ContextVar("rungs-request-id", default="")
"""Of the request that is answered here."""
log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        told["message"] = record.getMessage()
        told |= _fields(record)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True, default=str)


class TextLines(logging.Formatter):
    """One line for people; what an exception adds comes below it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = datetime.fromtimestamp(record.created).isoformat(" ", timespec="seconds")
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")  # nobody forges a second line
        line = f"{at} {record.levelname.lower():7} {record.name}: {message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logs(settings: Settings) -> None:
    """Send everything that is logged to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())


class Answers:
    """Writes a line for every question that came to an end; fits `Bulletin.listen`."""

    def __init__(self, with_text: bool = False) -> None:
        self._with_text = with_text

    def __call__(self, event: str, about: Mapping[str, Any]) -> None:
        """Something happened."""
        if event == "interrupted":
            log.info("question", extra={"fields": {"trace_id": about["trace_id"], "outcome": "interrupted"}})
        if event != "answered":
            return
        trace = about["trace"]
        tokens_in, tokens_out = tokens_of(trace)
        fields = {
            "trace_id": trace.id,
            "surface": trace.question.surface,
            "answered_by": trace.answer.level or "",  # `level` is the line's own
            "outcome": trace.answer.outcome,
            "seconds": round(trace.seconds, 3),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
        }
        if self._with_text:
            fields |= {"question": trace.question.text, "answer": trace.answer.text}
        log.info("question", extra={"fields": fields})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "fields", {}))
    return {**fields, "request_id": id} if (id := request_id.get()) else fields


def _shown(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
