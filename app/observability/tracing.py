"""Traces (extra `otel`): exports OpenTelemetry spans over OTLP; they never contain a URL or a secret.

Imported only if BRIDGE_OTEL is true. The SDK reads its own variables for endpoint, sampling and service name
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …).
"""

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Event, Thread
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.domain.times import to_ms
from app.version import VERSION

NAME = "cph-webhook-bridge"
HEADER = "traceparent"
MS_NS = 1_000_000
LAST_SPANS_S = 2.0  # longest wait when a process ends: the collector may be unavailable
STATUS = "http.response.status_code"

_w3c = TraceContextTextMapPropagator()

Value = str | int | Sequence[str] | None


class AttemptSpan:
    """The span of an attempt in progress. traceparent: to send with the callback."""

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _w3c.inject(carrier, set_span_in_context(span, Context()))
        self.traceparent = carrier.get(HEADER)

    def record_outcome(self, *, delivered: bool, verdict: str, status_code: int | None) -> None:
        self._span.set_attributes(_attributes({"verdict": verdict}, status_code))
        if not delivered:
            self._span.set_status(StatusCode.ERROR)


class Tracing:
    """Thread-safe. Create one for each process, after a fork: the processor has a thread of its own."""

    def __init__(self, processor: SpanProcessor) -> None:
        # Merged first, because `create` would let our values override the `OTEL_…` variables.
        resource = Resource({"service.name": NAME, "service.version": VERSION}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=Resource.create(resource.attributes), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(NAME, VERSION)

    @contextmanager
    def deliver(self, traceparents: Sequence[str | None], **fields: Value) -> Iterator[AttemptSpan]:
        """Traces one attempt. traceparents: of all registrations in its message; see `_parent_and_links`."""
        parent, links = _parent_and_links(traceparents)
        span = self._tracer.start_span("deliver", parent, SpanKind.CLIENT, _attributes(fields), links)
        try:
            yield AttemptSpan(span)
        finally:
            span.end()

    def record_watch(self, traceparent: str, since: datetime, until: datetime, **fields: Value) -> None:
        """Records the span from a registration to the observed end of its jobs."""
        begun, ended = to_ms(since) * MS_NS, to_ms(until) * MS_NS
        span = self._tracer.start_span(
            "watch", _context(traceparent), attributes=_attributes(fields), start_time=min(begun, ended)
        )
        span.end(ended)

    def record_poll(self, traceparents: Sequence[str], took_s: float, **fields: Value) -> None:
        """Records a finished call to CPH. traceparents: of the registrations that it serves, as for `deliver`."""
        self._record_finished("poll", traceparents, SpanKind.CLIENT, took_s, _attributes(fields))

    def record_request(
        self, traceparent: str | None, name: str, took_s: float, status_code: int, **fields: Value
    ) -> None:
        """Records an answered request to our API."""
        attributes = _attributes(fields, status_code)
        self._record_finished(name, [traceparent], SpanKind.SERVER, took_s, attributes, failed=status_code >= 500)

    def close(self) -> None:
        """Sends the remaining spans, however long that takes."""
        self._provider.shutdown()

    def _record_finished(
        self,
        name: str,
        traceparents: Sequence[str | None],
        kind: SpanKind,
        took_s: float,
        attributes: dict[str, Any],
        *,
        failed: bool = False,
    ) -> None:
        now = time_ns()
        began = now - int(took_s * 1e9)
        parent, links = _parent_and_links(traceparents)
        span = self._tracer.start_span(name, parent, kind, attributes, links, start_time=began)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(now)


def over_otlp() -> Tracing:
    """Exports in the background until the process ends; spans that cannot be sent are dropped, which the log shows."""
    tracing = Tracing(BatchSpanProcessor(OTLPSpanExporter()))
    ending = Event()

    def close_at_end() -> None:
        ending.wait()
        tracing.close()

    # Otherwise the SDK waits half a minute. The thread starts now because none can start while the process ends.
    closing = Thread(target=close_at_end, daemon=True)
    closing.start()

    def end() -> None:
        ending.set()
        closing.join(LAST_SPANS_S)

    atexit.register(end)
    return tracing


def _parent_and_links(traceparents: Sequence[str | None]) -> tuple[Context, list[Link]]:
    """One traceparent is the parent; several are links, of which the SDK keeps 128 (`OTEL_SPAN_LINK_COUNT_LIMIT`)."""
    named = [parent for parent in dict.fromkeys(traceparents) if parent]
    if len(named) > 1:
        return Context(), [Link(get_current_span(_context(each)).get_span_context()) for each in named]
    return _context(named[0] if named else None), []


def _context(traceparent: str | None) -> Context:
    """Returns the context of a new trace if there is no valid traceparent."""
    return _w3c.extract({HEADER: traceparent}, Context()) if traceparent else Context()


def _attributes(fields: Mapping[str, Value], status_code: int | None = None) -> dict[str, Any]:
    """Drops unknown values. The status has OpenTelemetry's conventional name, all else the prefix `bridge.`."""
    named = {f"bridge.{name}": value for name, value in fields.items()} | {STATUS: status_code}
    return {name: value for name, value in named.items() if value is not None}
