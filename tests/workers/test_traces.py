"""Spans of workers, read from OpenTelemetry's in-memory exporter."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.destination import bot_at
from app.domain.job import Job, JobState
from app.observability.tracing import Tracing
from tests.support.manual_clock import ManualClock
from tests.support.receiver import Receiver
from tests.support.served import Served

SECOND = timedelta(seconds=1)
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


def traceparent_of(context: Any) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def test_an_attempt_hangs_below_the_caller_and_the_receiver_below_it(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, spans, deliveries_of
) -> None:
    make_ended_registration(traceparent=PARENT)
    run_due(delivery_worker)
    (span,), (callback,), (delivery,) = spans("deliver"), receiver.callbacks, deliveries_of()
    assert traceparent_of(span.parent) == PARENT
    assert callback.headers["traceparent"] == traceparent_of(span.context)
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
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, spans, clock: ManualClock
) -> None:
    receiver.statuses = [(500, {})]
    make_ended_registration(traceparent=PARENT)
    run_due(delivery_worker)
    clock.now += 10 * SECOND
    run_due(delivery_worker)
    first, second = spans("deliver")
    assert [first.attributes["bridge.verdict"], second.attributes["bridge.verdict"]] == ["retry", "delivered"]
    assert [first.status.is_ok, second.status.is_ok] == [False, True]
    assert [first.attributes["http.response.status_code"], second.attributes["bridge.number"]] == [500, 2]
    assert traceparent_of(first.parent) == traceparent_of(second.parent) == PARENT
    assert len(spans("watch")) == 1


def test_an_attempt_without_an_answer_has_no_status(delivery_worker, run_due, make_ended_registration, spans) -> None:
    make_ended_registration(traceparent=PARENT, callback_url="http://169.254.169.254/latest")
    run_due(delivery_worker)
    (span,) = spans("deliver")
    assert span.attributes["bridge.verdict"] == "refused"
    assert "http.response.status_code" not in span.attributes


def test_spans_name_no_url_and_no_secret(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, spans
) -> None:
    made = make_ended_registration(traceparent=PARENT, headers={"X-Key": "k3y-of-the-caller"})
    run_due(delivery_worker)
    exported = "".join(span.to_json() for name in ("deliver", "watch") for span in spans(name))
    assert exported
    assert not [hidden for hidden in (made.callback_url, receiver.url, made.secret, "k3y-of") if hidden in exported]


def test_without_a_trace_of_the_caller_an_attempt_begins_one(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, spans
) -> None:
    make_ended_registration()
    run_due(delivery_worker)
    (span,), (callback,) = spans("deliver"), receiver.callbacks
    assert span.parent is None
    assert callback.headers["traceparent"] == traceparent_of(span.context)
    assert spans("watch") == []


def test_what_the_caller_does_not_sample_is_not_exported_and_says_so_on(
    delivery_worker, run_due, make_ended_registration, receiver: Receiver, exporter: InMemorySpanExporter
) -> None:
    make_ended_registration(traceparent=UNSAMPLED)
    run_due(delivery_worker)
    (callback,) = receiver.callbacks
    assert exporter.get_finished_spans() == ()
    sent = callback.headers["traceparent"].split("-")
    assert (sent[1], sent[3]) == (UNSAMPLED.split("-")[1], "00")


def test_the_caller_sees_how_long_its_job_was_watched(
    delivery_worker, run_due, make_ended_registration, spans, clock: ManualClock
) -> None:
    made = make_ended_registration(traceparent=PARENT)
    run_due(delivery_worker)
    (span,) = spans("watch")
    assert traceparent_of(span.parent) == PARENT
    assert span.attributes["bridge.registration_id"] == made.id
    assert span.start_time == made.created_at.timestamp() * 1e9
    assert span.end_time == clock.now.timestamp() * 1e9


@pytest.mark.parametrize(
    ("given", "parent", "links"),
    [((PARENT, OTHER), None, [PARENT, OTHER]), ((PARENT, PARENT), PARENT, []), ((None, OTHER), OTHER, [])],
)
def test_a_digest_is_linked_to_all_that_it_reports(
    delivery_worker,
    run_due,
    runtime: Runtime,
    registration,
    receiver: Receiver,
    spans,
    clock: ManualClock,
    given,
    parent,
    links,
) -> None:
    receiver.answer_body = b"ok"
    bot = bot_at("http://127.0.0.1:9", "slack", "/services/T/B/t0ken")
    usual = {"callback_url": receiver.url, "destination": bot, "secret": "", "format": "slack", "job_ids": ()}
    for number, traceparent in enumerate(given):
        jobs = (Job(f"job-{number}", JobState.SUCCEEDED),)
        made = registration(at=clock.now, **usual, ended=jobs, traceparent=traceparent)
        runtime.stores.registrations.add(made, rate=runtime.config.format_catalog.rate("slack"))
    run_due(delivery_worker)
    (span,) = spans("deliver")
    assert len(span.attributes["bridge.digest"]) == 2
    assert (span.parent and traceparent_of(span.parent)) == parent
    assert sorted(traceparent_of(link.context) for link in span.links) == links


PARENT_CASES = [
    ((None, None), None, []),
    ((PARENT, None), PARENT, []),
    ((PARENT, PARENT), PARENT, []),
    ((PARENT, OTHER), None, [PARENT, OTHER]),
]


def parent_and_links(span: ReadableSpan) -> tuple[str | None, list[str]]:
    """Returns the traceparents of the parent and of the links."""
    return span.parent and traceparent_of(span.parent), sorted(traceparent_of(link.context) for link in span.links)


@pytest.mark.parametrize(("given", "parent", "links"), PARENT_CASES)
def test_a_call_about_a_job_hangs_below_those_who_wait_for_it(
    poll_worker, run_due, make_watched_job, spans, given, parent, links
) -> None:
    for traceparent in given:
        make_watched_job("nobody-knows-me", traceparent=traceparent)
    run_due(poll_worker)
    (span,) = spans("poll")
    assert parent_and_links(span) == (parent, links)


@pytest.mark.parametrize(("given", "parent", "links"), PARENT_CASES)
def test_a_list_hangs_below_those_who_wait_for_its_jobs_and_stays_there(
    poll_worker, run_due, make_request_registration, standin: Served, spans, clock: ManualClock, given, parent, links
) -> None:
    (job,) = standin.jobs(1, duration_s=3600)
    for traceparent in given:
        make_request_registration(job["request_id"], traceparent=traceparent)
    for _ in range(5):
        run_due(poll_worker)
        clock.now += 31 * SECOND
    assert len(spans("poll")) == 5
    assert [parent_and_links(span) for span in spans("poll")] == [(parent, links)] * 5


def test_a_list_of_several_requests_is_linked_to_all_who_wait_for_jobs_of_theirs(
    poll_worker, run_due, make_watched_job, standin: Served, spans, clock: ManualClock
) -> None:
    for traceparent in (PARENT, OTHER):
        make_watched_job(standin.jobs(1, duration_s=3600)[0]["job_id"], traceparent=traceparent)
    for _ in range(3):  # ShowJob for each job, ListJobs for each request, then one ListJobs for both requests
        run_due(poll_worker)
        clock.now += 31 * SECOND
    *apart, together = spans("poll")
    assert together.attributes["bridge.requests"] == 2
    assert parent_and_links(together) == (None, [PARENT, OTHER])
    assert {span.attributes["bridge.call"] for span in apart} == {"show_job", "list_jobs"}
    assert {parent_and_links(span)[0] for span in apart} == {PARENT, OTHER}


def test_who_has_cancelled_sees_no_more_of_it(poll_worker, run_due, make_watched_job, stores: Stores, spans) -> None:
    make_watched_job("nobody-knows-me", traceparent=PARENT)
    stores.registrations.cancel("t", make_watched_job("nobody-knows-me", traceparent=OTHER).registration.id)
    run_due(poll_worker)
    (span,) = spans("poll")
    assert parent_and_links(span) == (PARENT, [])


def test_a_call_is_linked_to_as_many_as_the_sdk_keeps(poll_worker, run_due, make_watched_job, spans) -> None:
    for number in range(130):
        make_watched_job("nobody-knows-me", traceparent=f"{PARENT[:-5]}{number:02x}-01")
    run_due(poll_worker)
    (span,) = spans("poll")
    assert len(span.links) == 128


@pytest.mark.parametrize(("others", "trace_id"), [(PARENT, PARENT.split("-")[1]), (OTHER, None)])
def test_what_is_logged_of_a_job_names_the_trace_that_it_is_of(
    poll_worker, run_due, make_watched_job, standin: Served, caplog: pytest.LogCaptureFixture, others, trace_id
) -> None:
    caplog.set_level("INFO", "bridge")
    job = standin.job(duration_s=0)["job_id"]
    make_watched_job(job, traceparent=PARENT)
    make_watched_job(job, traceparent=others)
    run_due(poll_worker)
    (line,) = [record for record in caplog.records if record.getMessage() == "job.ended"]
    assert line.fields == {"project": "default", "job_id": job, "state": "succeeded", "trace_id": trace_id}


def test_a_call_about_a_job_says_what_came_of_it(poll_worker, run_due, make_watched_job, spans) -> None:
    make_watched_job("nobody-knows-me")
    run_due(poll_worker)
    (span,) = spans("poll")
    assert span.kind == SpanKind.CLIENT
    assert span.end_time > span.start_time
    assert dict(span.attributes) == {
        "bridge.project": "default",
        "bridge.call": "show_job",
        "bridge.job_id": "nobody-knows-me",
        "bridge.outcome": "unknown",
    }


def test_a_list_says_how_much_it_was_about(
    poll_worker, run_due, make_request_registration, standin: Served, spans
) -> None:
    made = standin.jobs(150, duration_s=3600)
    make_request_registration(made[0]["request_id"])
    run_due(poll_worker)
    (span,) = spans("poll")
    assert dict(span.attributes) == {
        "bridge.project": "default",
        "bridge.call": "list_jobs",
        "bridge.outcome": "answered",
        "bridge.calls": 2,
        "bridge.requests": 1,
        "bridge.jobs": 150,
    }
