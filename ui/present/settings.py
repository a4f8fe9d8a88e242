"""Settings in force and health as HTML; secrets are masked. Formats and escapes. Called by the console."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.confidence import Calibration
from assistant.settings import Settings
from ui.background import Job
from ui.present import LEVEL_WORDS, escaped, facts, problem_html
from ui.present.tables import empty, progress, table

HIDDEN = "set, not shown"
_SECRET = re.compile(r"(?:^|_)(?:key|secret|password|token)s?$")
_LOGIN = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
"""User and password in an address."""
NOTHING_FITS = (
    "No calibration is in force for this model, embedder and index, so no answer can be promised. "
    "Run: rungs calibrate GOLDEN.jsonl --max-wrong 0.05"
)
NOT_EXAMINED = "Nothing was looked at since the start. Examine to see whether everything is in place."


def settings_html(settings: Settings, origins: Mapping[str, str]) -> str:
    """Every setting with its value and where it comes from; what was changed comes first."""
    fields = Settings.model_fields
    names = sorted(fields, key=lambda name: origins[name] == "default")
    rows = [(name, _value(settings, name), origins[name], fields[name].description or "") for name in names]
    return table("Settings in force", ["Setting", "Value", "From", "What it is"], rows)


def _value(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, (int, float)):  # answer_tokens is no secret
        return str(value)
    if value not in ("", None) and (not Settings.model_fields[name].repr or _SECRET.search(name)):
        return HIDDEN
    return _LOGIN.sub(r"\1:•••@", str(_masked(value))) if value not in ("", None, [], {}) else "-"


def _masked(value: Any) -> Any:
    """A value with what is secret inside it hidden."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if _SECRET.search(str(key)) else _masked(one) for key, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, (list, tuple)) else value


def in_force_html(facts_: Mapping[str, str], calibration: Calibration, versions: Mapping[str, str]) -> str:
    """What answers, by version, and what each level's confidence has to reach.

    Args:
        facts_: names and values.
        calibration: the one at hand.
        versions: of what answers; a level that was fitted for others promises nothing.
    """
    fitted = {name: calibration.of(name, versions) for name in calibration.levels}
    rows = [
        (LEVEL_WORDS[name], "nothing is promised" if one is None or one.threshold is None else f"{one.threshold:.0%}")
        for name, one in fitted.items()
    ]
    promised = any(fitted.values())
    said = (
        table("Thresholds", ["Level", "Answers from a confidence of"], rows, (1,)) if promised else empty(NOTHING_FITS)
    )
    bound = f'<p class="sure">Chosen so that at most {calibration.max_wrong:.0%} of accepted answers are wrong.</p>'
    return f"{facts(facts_)}<h3>Confidence</h3>{said}{bound if promised else ''}"


def health_html(job: Job | None) -> str:
    """What an examination found, with what to do."""
    if job is None:
        return empty(NOT_EXAMINED)
    if job.running:
        return progress("Examining", job.done, job.total, job.label or "starting …")
    if job.error or job.result is None:
        return problem_html(job.error or "The examination was stopped.")
    checks: Sequence[Mapping[str, Any]] = job.result["checks"]
    wrong = sum(not check["ok"] for check in checks)
    head = "Everything is in place." if not wrong else f"{wrong} of {len(checks)} are not in order."
    items = "".join(_check(check) for check in checks)
    at = escaped(job.started_at[:16].replace("T", " "))
    return f'<p class="told" role="status">{head} <span class="sure">{at} UTC</span></p><ul class="checks">{items}</ul>'


def _check(check: Mapping[str, Any]) -> str:
    kind, mark = ("ok", "in order") if check["ok"] else ("wrong", "not in order")
    fix = f'<span class="fix">What to do: {escaped(check["fix"])}</span>' if check["fix"] else ""
    return (
        f'<li class="{kind}"><b>{escaped(check["name"])}</b><span class="mark">{mark}</span>'
        f"<span>{escaped(check['detail'])}</span>{fix}</li>"
    )
