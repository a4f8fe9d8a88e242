"""Spans for an OpenTelemetry collector: for each request, and for each answered question with its attempts below it.

Names follow the conventions for generative AI where there are some; no text of anybody's is sent. The SDK is imported
only where the setting `otel` names a collector; spans are sent by a thread of its own, and lost where the collector is
away. Made by `server.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError
from ui.access.admission import tokens_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from assistant.types import Attempt, Trace

SECOND = 1_000_000_000
"""In nanoseconds, which spans count in."""
PROVIDERS = {"embedded": "llama_cpp", "served": "openai", "local": "transformers"}
"""`gen_ai.provider.name` by the setting `model`: what speaks, or the protocol it is spoken to in."""
TRACES = "/v1/traces"
log = logging.getLogger(__name__)


class Telemetry:
    """One process's spans. Fits `Bulletin.listen`; thread-safe."""

    def __init__(self, url: str, version: str, model: str) -> None:
        """Begin.

        Args:
            url: of a collector that takes OTLP over HTTP.
            version: of Rungs.
            model: the setting of that name.

        Raises:
            AssistantError: the extra `otel` is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise AssistantError('the setting otel needs more: pip install "rungs[otel]"') from error
        from opentelemetry.trace import SpanKind

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "rungs", "service.version": version}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=url.rstrip("/").removesuffix(TRACES) + TRACES)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rungs", version)
        self._model = model
        self._server, self._internal = SpanKind.SERVER, SpanKind.INTERNAL

    def __call__(self, event: str, about: Mapping[str, Any]) -> None:
        """Something happened; where it is an answer, its spans are made out of the finished trace."""
        if event == "answered":
            self._answered(about["trace"])

    def begin(self) -> tuple[Span, Any]:
        """A request begins; what is answered for it becomes a child. For `end`, in the same task."""
        from opentelemetry import context, trace

        span = self._tracer.start_span("request", kind=self._server)
        return span, context.attach(trace.set_span_in_context(span))

    def end(self, begun: tuple[Span, Any], route: str, method: str, status: int) -> None:
        """It was answered."""
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        span, token = begun
        context.detach(token)
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left, and stop. Blocks for as long as the exporter takes. Idempotent."""
        self._provider.shutdown()

    def _answered(self, trace: Trace) -> None:
        from opentelemetry import trace as spans

        ended = time.time_ns()
        tokens_in, tokens_out = tokens_of(trace)
        span = self._tracer.start_span(
            "answer",
            kind=self._internal,
            start_time=ended - int(trace.seconds * SECOND),
            attributes={
                **self._named(trace, tokens_in, tokens_out),
                "app.transfer.level": trace.answer.level or "none",
                "app.outcome": trace.answer.outcome,
                "app.trace.id": trace.id,
                "app.surface": trace.question.surface,
            },
        )
        within = spans.set_span_in_context(span)
        seconds = [attempt.seconds or 0.0 for attempt in trace.attempts]
        begins = ended - int(sum(seconds) * SECOND)  # they came last, one after the other
        for attempt, took in zip(trace.attempts, seconds, strict=True):
            if attempt.skipped_because is None:
                named = self._tried(trace, attempt)
                child = self._tracer.start_span(f"level {attempt.level}", within, start_time=begins, attributes=named)
                begins += int(took * SECOND)
                child.end(begins)
        span.end(ended)

    def _tried(self, trace: Trace, attempt: Attempt) -> dict[str, Any]:
        draft = attempt.draft
        sure = {} if attempt.confidence is None else {"app.confidence": attempt.confidence}
        named = self._named(trace, draft.tokens_in if draft else 0, draft.tokens_out if draft else 0)
        return {**named, "app.transfer.level": attempt.level, "app.verdict": attempt.state, **sure}

    def _named(self, trace: Trace, tokens_in: int, tokens_out: int) -> dict[str, Any]:
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(self._model, self._model),
            "gen_ai.request.model": trace.versions.get("model_name", ""),
            "gen_ai.usage.input_tokens": tokens_in,
            "gen_ai.usage.output_tokens": tokens_out,
        }
