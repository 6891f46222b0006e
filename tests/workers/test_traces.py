"""What workers tell OpenTelemetry, read from its own exporter in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from app.domain.destination import bot_at
from app.domain.job import Job, JobState
from app.runtime import Runtime
from app.tracing import Tracing
from tests.receiver import Receiver
from tests.served import Served
from tests.workers.conftest import SECOND, Time

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = PARENT[:-1] + "0"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    tracing = Tracing(SimpleSpanProcessor(exporter))
    yield tracing
    tracing.close()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[str], list[ReadableSpan]]:
    return lambda name: [span for span in exporter.get_finished_spans() if span.name == name]


def written(context: Any) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def test_an_attempt_hangs_below_the_caller_and_the_receiver_below_it(
    delivering, turn, ended, receiver: Receiver, spans, deliveries_of
) -> None:
    ended(traceparent=PARENT)
    turn(delivering)
    (span,), (callback,), (delivery,) = spans("deliver"), receiver.callbacks, deliveries_of()
    assert written(span.parent) == PARENT
    assert callback.headers["traceparent"] == written(span.context)
    assert (span.kind, span.status.is_ok, span.links) == (SpanKind.CLIENT, True, ())
    assert dict(span.attributes) == {
        "bridge.delivery_id": delivery.id,
        "bridge.event_id": delivery.event_id,
        "bridge.number": 1,
        "bridge.format": "standard",
        "bridge.verdict": "delivered",
        "http.response.status_code": 200,
    }


def test_each_attempt_is_a_span_and_one_that_fails_says_so(
    delivering, turn, ended, receiver: Receiver, spans, time: Time
) -> None:
    receiver.statuses = [(500, {})]
    ended(traceparent=PARENT)
    turn(delivering)
    time.now += 10 * SECOND
    turn(delivering)
    first, second = spans("deliver")
    assert [first.attributes["bridge.verdict"], second.attributes["bridge.verdict"]] == ["retry", "delivered"]
    assert [first.status.is_ok, second.status.is_ok] == [False, True]
    assert [first.attributes["http.response.status_code"], second.attributes["bridge.number"]] == [500, 2]
    assert written(first.parent) == written(second.parent) == PARENT
    assert len(spans("watch")) == 1


def test_an_attempt_without_an_answer_has_no_status(delivering, turn, ended, spans) -> None:
    ended(traceparent=PARENT, callback_url="http://169.254.169.254/latest")
    turn(delivering)
    (span,) = spans("deliver")
    assert span.attributes["bridge.verdict"] == "refused"
    assert "http.response.status_code" not in span.attributes


def test_spans_name_no_url_and_no_secret(delivering, turn, ended, receiver: Receiver, spans) -> None:
    made = ended(traceparent=PARENT, headers={"X-Key": "k3y-of-the-caller"})
    turn(delivering)
    told = "".join(span.to_json() for name in ("deliver", "watch") for span in spans(name))
    assert told
    assert not [hidden for hidden in (made.callback_url, receiver.url, made.secret, "k3y-of") if hidden in told]


def test_without_a_trace_of_the_caller_an_attempt_begins_one(
    delivering, turn, ended, receiver: Receiver, spans
) -> None:
    ended()
    turn(delivering)
    (span,), (callback,) = spans("deliver"), receiver.callbacks
    assert span.parent is None
    assert callback.headers["traceparent"] == written(span.context)
    assert spans("watch") == []


def test_what_the_caller_does_not_sample_is_not_told_and_says_so_on(
    delivering, turn, ended, receiver: Receiver, exporter: InMemorySpanExporter
) -> None:
    ended(traceparent=UNSAMPLED)
    turn(delivering)
    (callback,) = receiver.callbacks
    assert exporter.get_finished_spans() == ()
    sent = callback.headers["traceparent"].split("-")
    assert (sent[1], sent[3]) == (UNSAMPLED.split("-")[1], "00")


def test_the_caller_sees_how_long_its_job_was_watched(delivering, turn, ended, spans, time: Time) -> None:
    made = ended(traceparent=PARENT)
    turn(delivering)
    (span,) = spans("watch")
    assert written(span.parent) == PARENT
    assert span.attributes["bridge.registration_id"] == made.id
    assert span.start_time == made.created_at.timestamp() * 1e9
    assert span.end_time == time.now.timestamp() * 1e9


@pytest.mark.parametrize(
    ("given", "parent", "links"),
    [((PARENT, OTHER), None, [PARENT, OTHER]), ((PARENT, PARENT), PARENT, []), ((None, OTHER), OTHER, [])],
)
def test_a_digest_is_linked_to_all_that_it_tells(
    delivering, turn, runtime: Runtime, registration, receiver: Receiver, spans, time: Time, given, parent, links
) -> None:
    receiver.said = b"ok"
    bot = bot_at("http://127.0.0.1:9", "slack", "/services/T/B/t0ken")
    usual = {"callback_url": receiver.url, "destination": bot, "secret": "", "format": "slack", "job_ids": ()}
    for number, traceparent in enumerate(given):
        jobs = (Job(f"job-{number}", JobState.SUCCEEDED),)
        made = registration(at=time.now, **usual, ended=jobs, traceparent=traceparent)
        runtime.registrations.add(made, rate=runtime.catalogue.rate("slack"))
    turn(delivering)
    (span,) = spans("deliver")
    assert len(span.attributes["bridge.digest"]) == 2
    assert (span.parent and written(span.parent)) == parent
    assert sorted(written(link.context) for link in span.links) == links


def test_a_call_about_a_job_is_a_trace_of_its_own(polling, turn, watched, spans) -> None:
    watched("nobody-knows-me", traceparent=PARENT)
    turn(polling)
    (span,) = spans("poll")
    assert (span.kind, span.parent) == (SpanKind.CLIENT, None)
    assert span.end_time > span.start_time
    assert dict(span.attributes) == {
        "bridge.project": "default",
        "bridge.call": "show_job",
        "bridge.job_id": "nobody-knows-me",
        "bridge.outcome": "unknown",
    }


def test_a_list_says_how_much_it_was_about(polling, turn, wanted, standin: Served, spans) -> None:
    made = standin.jobs(150, duration_s=3600)
    wanted(made[0]["request_id"])
    turn(polling)
    (span,) = spans("poll")
    assert dict(span.attributes) == {
        "bridge.project": "default",
        "bridge.call": "list_jobs",
        "bridge.outcome": "answered",
        "bridge.calls": 2,
        "bridge.requests": 1,
        "bridge.jobs": 150,
    }
