"""What workers tell OpenTelemetry, read from its own exporter in memory."""

from collections.abc import Callable, Iterator
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
from tests.workers.conftest import SECOND

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
    delivering, turn, ended, receiver: Receiver, spans, time: ManualClock
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


def test_the_caller_sees_how_long_its_job_was_watched(delivering, turn, ended, spans, time: ManualClock) -> None:
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
    delivering, turn, runtime: Runtime, registration, receiver: Receiver, spans, time: ManualClock, given, parent, links
) -> None:
    receiver.said = b"ok"
    bot = bot_at("http://127.0.0.1:9", "slack", "/services/T/B/t0ken")
    usual = {"callback_url": receiver.url, "destination": bot, "secret": "", "format": "slack", "job_ids": ()}
    for number, traceparent in enumerate(given):
        jobs = (Job(f"job-{number}", JobState.SUCCEEDED),)
        made = registration(at=time.now, **usual, ended=jobs, traceparent=traceparent)
        runtime.stores.registrations.add(made, rate=runtime.config.format_catalog.rate("slack"))
    turn(delivering)
    (span,) = spans("deliver")
    assert len(span.attributes["bridge.digest"]) == 2
    assert (span.parent and written(span.parent)) == parent
    assert sorted(written(link.context) for link in span.links) == links


BELOW = [
    ((None, None), None, []),
    ((PARENT, None), PARENT, []),
    ((PARENT, PARENT), PARENT, []),
    ((PARENT, OTHER), None, [PARENT, OTHER]),
]


def hangs(span: ReadableSpan) -> tuple[str | None, list[str]]:
    """Its parent, and what it is linked to."""
    return span.parent and written(span.parent), sorted(written(link.context) for link in span.links)


@pytest.mark.parametrize(("given", "parent", "links"), BELOW)
def test_a_call_about_a_job_hangs_below_those_who_wait_for_it(
    polling, turn, watched, spans, given, parent, links
) -> None:
    for traceparent in given:
        watched("nobody-knows-me", traceparent=traceparent)
    turn(polling)
    (span,) = spans("poll")
    assert hangs(span) == (parent, links)


@pytest.mark.parametrize(("given", "parent", "links"), BELOW)
def test_a_list_hangs_below_those_who_look_for_its_jobs_and_stays_there(
    polling, turn, wanted, standin: Served, spans, time: ManualClock, given, parent, links
) -> None:
    (job,) = standin.jobs(1, duration_s=3600)
    for traceparent in given:
        wanted(job["request_id"], traceparent=traceparent)
    for _ in range(5):
        turn(polling)
        time.now += 31 * SECOND
    assert len(spans("poll")) == 5
    assert [hangs(span) for span in spans("poll")] == [(parent, links)] * 5


def test_a_list_of_several_requests_is_linked_to_all_who_wait_for_jobs_of_theirs(
    polling, turn, watched, standin: Served, spans, time: ManualClock
) -> None:
    for traceparent in (PARENT, OTHER):
        watched(standin.jobs(1, duration_s=3600)[0]["job_id"], traceparent=traceparent)
    for _ in range(3):  # each job by itself, each request by itself too, then the requests together
        turn(polling)
        time.now += 31 * SECOND
    *apart, together = spans("poll")
    assert together.attributes["bridge.requests"] == 2
    assert hangs(together) == (None, [PARENT, OTHER])
    assert {span.attributes["bridge.call"] for span in apart} == {"show_job", "list_jobs"}
    assert {hangs(span)[0] for span in apart} == {PARENT, OTHER}


def test_who_has_cancelled_sees_no_more_of_it(polling, turn, watched, stores: Stores, spans) -> None:
    watched("nobody-knows-me", traceparent=PARENT)
    stores.registrations.cancel("t", watched("nobody-knows-me", traceparent=OTHER).registration.id)
    turn(polling)
    (span,) = spans("poll")
    assert hangs(span) == (PARENT, [])


def test_a_call_is_linked_to_as_many_as_the_sdk_keeps(polling, turn, watched, spans) -> None:
    for number in range(130):
        watched("nobody-knows-me", traceparent=f"{PARENT[:-5]}{number:02x}-01")
    turn(polling)
    (span,) = spans("poll")
    assert len(span.links) == 128


@pytest.mark.parametrize(("others", "trace_id"), [(PARENT, PARENT.split("-")[1]), (OTHER, None)])
def test_what_is_logged_of_a_job_names_the_trace_that_it_is_of(
    polling, turn, watched, standin: Served, caplog: pytest.LogCaptureFixture, others, trace_id
) -> None:
    caplog.set_level("INFO", "bridge")
    job = standin.job(duration_s=0)["job_id"]
    watched(job, traceparent=PARENT)
    watched(job, traceparent=others)
    turn(polling)
    (line,) = [record for record in caplog.records if record.getMessage() == "job.ended"]
    assert line.fields == {"project": "default", "job_id": job, "state": "succeeded", "trace_id": trace_id}


def test_a_call_about_a_job_says_what_came_of_it(polling, turn, watched, spans) -> None:
    watched("nobody-knows-me")
    turn(polling)
    (span,) = spans("poll")
    assert span.kind == SpanKind.CLIENT
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
