"""Is the OpenAPI document true? schemathesis makes calls out of it, good and bad ones, against a real server.

Each response is held against the document: its status and content type are named there, its body fits, a method that is
not named is refused, and nothing is a fault of ours. Every second call names something that exists. Run it:
`python -m bench.openapi [CALLS] [SEED]`; `tests/ui/api/test_openapi.py` makes a few hundred.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
SECONDS = 60
FEW = 40
"""Calls of one operation in one round, at most."""


Known = dict[str, dict[str, dict[str, Any]]]
"""By operation and part of the request: values that exist, which every second call gets."""


@dataclass
class Told:
    """What the calls came to."""

    calls: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """Calls that were answered with 200, by operation."""
    operations: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    """The first of each kind, by operation and check."""


class Caller:
    """One server, called until enough calls were made."""

    def __init__(self, url: str, known: Known) -> None:
        self._url = url
        self._session = requests.Session()
        self._schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self._known = known
        self.told = Told()

    def call(self, calls: int, seed: int) -> Told:
        """Make so many calls, give or take the last operation's."""
        started = time.monotonic()
        operations = [result.ok() for result in self._schema.get_all_operations()]
        each = max(1, min(FEW, calls // (len(operations) * len(MODES))))
        for number in itertools.count(seed):
            for operation, mode in itertools.product(operations, MODES):
                if self.told.calls >= calls:
                    self.told.seconds = time.monotonic() - started
                    return self.told
                self._round(operation, mode, each, number)
        raise AssertionError("unreachable")

    def _round(self, operation: Any, mode: Any, most: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @examples(
            max_examples=most, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def calls(case: Any) -> None:
            self._one(operation.label, case)

        with suppress(hypothesis.errors.Unsatisfiable):  # nothing wrong can be sent where there are no parameters
            calls()

    def _one(self, label: str, case: Any) -> None:
        if self.told.calls % 2:
            for part, values in self._known.get(label, {}).items():
                if isinstance(given := getattr(case, part), dict):
                    given.update(values)
        response = case.call(session=self._session, timeout=SECONDS)
        self.told.calls += 1
        self.told.operations.add(label)
        self.told.statuses[response.status_code] += 1
        if response.status_code == 200:
            self.told.answered[label] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as error:
            for one in error.exceptions:
                self.told.failures.setdefault(f"{label}: {type(one).__name__}", f"{error}\n{case.as_curl_command()}")


def known_on(url: str) -> Known:
    """What exists: a question is asked, a document and a webhook are sent."""
    ask = {"model": "rungs", "messages": [{"role": "user", "content": "How is a lamp switched on?"}]}
    told = requests.post(f"{url}/v1/chat/completions", json=ask, timeout=SECONDS).json()["rungs"]
    pairs = {"pairs": [{"question": "Who sells bulbs?", "answer": "The glassworks."}]}
    requests.post(f"{url}/api/knowledge/sources/known/pairs", json=pairs, timeout=SECONDS).raise_for_status()
    hook = {"url": "https://example.com/hook", "events": ["adapter_promoted"]}
    made = requests.post(f"{url}/api/webhooks", json=hook, timeout=SECONDS).json()["webhook"]
    listed = requests.get(f"{url}/api/knowledge/documents", params={"source": "known"}, timeout=SECONDS).json()
    document = {"source": "known", "document": listed["documents"][0]["path"]}
    return {
        "POST /v1/chat/completions": {"body": ask},
        "GET /v1/models/{name}": {"path_parameters": {"name": "rungs/rag"}},
        "GET /api/conversations/{id}": {"path_parameters": {"id": told["conversation_id"]}},
        "GET /api/conversations/traces/{trace_id}": {"path_parameters": {"trace_id": told["trace_id"]}},
        "POST /api/feedback": {"body": {"trace_id": told["trace_id"]}},
        "GET /api/knowledge/documents": {"query": {"source": "known"}},
        "GET /api/knowledge/documents/passages": {"query": document},
        "POST /api/knowledge/sources/{source}/pairs": {"path_parameters": {"source": "known"}},
        "GET /api/webhooks/{id}/deliveries": {"path_parameters": {"id": made["id"]}},
        "POST /api/webhooks": {"body": hook},
    }


def main() -> None:
    """Serve a home on the scripted model and call it."""
    from tests.ui.browsing import scripted_site

    calls, seed = (int(word) for word in (*sys.argv[1:], *("20000", "1")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder, scripted_site(Path(folder)) as site:
        told = Caller(site.url, known_on(site.url)).call(calls, seed)
        alive = requests.get(f"{site.url}/healthz", timeout=SECONDS).status_code
    statuses = ", ".join(f"{status}: {number:,}" for status, number in sorted(told.statuses.items()))
    print(f"{told.calls:,} calls of {len(told.operations)} operations in {told.seconds:.0f} s; healthz then {alive}")
    print(f"statuses {statuses}")
    print(f"operations never answered with 200: {', '.join(sorted(told.operations - set(told.answered))) or 'none'}")
    for what, first in told.failures.items():
        print(f"\n== {what}\n{first}")
    sys.exit(1 if told.failures else 0)


if __name__ == "__main__":
    main()
