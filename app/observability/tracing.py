"""Traces, for those who install the extra `otel`: spans by OpenTelemetry, out over OTLP; never a URL or a secret.

Only where BRIDGE_OTEL is true is this imported. Where spans go, how many of them, and the service's name say the
SDK's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …), which it reads.
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
LAST_SPANS_S = 2.0  # that the end of a process waits, as a collector may be away
STATUS = "http.response.status_code"

_w3c = TraceContextTextMapPropagator()

Value = str | int | Sequence[str] | None


class AttemptSpan:
    """The span of an attempt that is under way. traceparent: what goes out with it."""

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
    """For use by many threads. One for each process, made behind a fork: the processor has a thread of its own."""

    def __init__(self, processor: SpanProcessor) -> None:
        # The variables' word counts for more than ours, which `create` would not let it.
        resource = Resource({"service.name": NAME, "service.version": VERSION}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=Resource.create(resource.attributes), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(NAME, VERSION)

    @contextmanager
    def deliver(self, traceparents: Sequence[str | None], **fields: Value) -> Iterator[AttemptSpan]:
        """One attempt. traceparents: of all registrations that it tells; see `_below`."""
        parent, links = _below(traceparents)
        span = self._tracer.start_span("deliver", parent, SpanKind.CLIENT, _attributes(fields), links)
        try:
            yield AttemptSpan(span)
        finally:
            span.end()

    def watched(self, traceparent: str, since: datetime, until: datetime, **fields: Value) -> None:
        """From a registration to the end of its jobs, as it was seen."""
        begun, ended = to_ms(since) * MS_NS, to_ms(until) * MS_NS
        span = self._tracer.start_span(
            "watch", _context(traceparent), attributes=_attributes(fields), start_time=min(begun, ended)
        )
        span.end(ended)

    def polled(self, traceparents: Sequence[str], took_s: float, **fields: Value) -> None:
        """A call to CPH that is over. traceparents: of the registrations that it serves; see `_below`."""
        self._over("poll", traceparents, SpanKind.CLIENT, took_s, _attributes(fields))

    def requested(self, traceparent: str | None, name: str, took_s: float, status_code: int, **fields: Value) -> None:
        """A request to our API that is answered."""
        attributes = _attributes(fields, status_code)
        self._over(name, [traceparent], SpanKind.SERVER, took_s, attributes, failed=status_code >= 500)

    def close(self) -> None:
        """Sends what waits to be sent, for as long as that takes."""
        self._provider.shutdown()

    def _over(
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
        parent, links = _below(traceparents)
        span = self._tracer.start_span(name, parent, kind, attributes, links, start_time=began)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(now)


def over_otlp() -> Tracing:
    """Sent in the background, to the end of the process; what cannot be sent is dropped, and told in the log."""
    tracing = Tracing(BatchSpanProcessor(OTLPSpanExporter()))
    ending = Event()

    def close_at_end() -> None:
        ending.wait()
        tracing.close()

    # The SDK would wait for half a minute, and at the end of a process no thread can be started.
    closing = Thread(target=close_at_end, daemon=True)
    closing.start()

    def end() -> None:
        ending.set()
        closing.join(LAST_SPANS_S)

    atexit.register(end)
    return tracing


def _below(traceparents: Sequence[str | None]) -> tuple[Context, list[Link]]:
    """A single one is the parent; several are links, of which the SDK keeps 128 (`OTEL_SPAN_LINK_COUNT_LIMIT`)."""
    named = [parent for parent in dict.fromkeys(traceparents) if parent]
    if len(named) > 1:
        return Context(), [Link(get_current_span(_context(each)).get_span_context()) for each in named]
    return _context(named[0] if named else None), []


def _context(traceparent: str | None) -> Context:
    """Without a good one, of a new trace."""
    return _w3c.extract({HEADER: traceparent}, Context()) if traceparent else Context()


def _attributes(fields: Mapping[str, Value], status_code: int | None = None) -> dict[str, Any]:
    """Those that are known: ours by names of our own, the status by the conventions of OpenTelemetry."""
    named = {f"bridge.{name}": value for name, value in fields.items()} | {STATUS: status_code}
    return {name: value for name, value in named.items() if value is not None}
