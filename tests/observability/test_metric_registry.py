"""What is counted: with few labels, and all that processes share."""

import pytest
from prometheus_client import generate_latest

from app.domain.event import DestinationChange, Event, OwnEventType
from app.domain.job import Job, JobState
from app.observability.metric_definitions import ATTEMPTS, DEATHS
from app.observability.metric_registry import MetricRegistry
from workers.telemetry import earliest_delivery_time, format_label


def lines(counts: MetricRegistry) -> list[str]:
    return [line for line in generate_latest(counts.collector()).decode().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("asked", "labels"), [(False, ""), (True, 'tenant="acme",')])
def test_tenants_are_told_apart_if_the_operator_says_so(asked: bool, labels: str) -> None:
    counts = MetricRegistry(tenants=asked)
    counts.count(ATTEMPTS, "slack", "delivered", tenant="acme")
    counts.count(ATTEMPTS, "slack", "delivered", tenant="acme", by=2)
    counts.count(DEATHS, "gone", tenant="acme")
    assert f'cph_bridge_attempts_total{{format="slack",{labels}verdict="delivered"}} 3.0' in lines(counts)


def test_templates_are_one_format() -> None:
    assert [format_label(name) for name in ("standard", "template:mine")] == ["standard", "template"]


@pytest.fixture
def event(now):
    def make(about, observed=now):
        return Event(id="evt_1", registration_id="reg_1", project="p", about=about, observed_at=observed, metadata={})

    return make


def test_a_callback_is_possible_since_the_job_has_ended_and_somebody_asked(event, registration, now) -> None:
    made = registration()
    early = Job("a", JobState.SUCCEEDED, end_time="2019-04-26T07:00:06Z")
    late = Job("a", JobState.SUCCEEDED, end_time="2026-01-02T03:05:00Z")
    assert earliest_delivery_time(event(early), made) == now
    assert str(earliest_delivery_time(event(late), made)) == "2026-01-02 03:05:00+00:00"
    assert earliest_delivery_time(event(Job("a", JobState.LOST)), made) == now


def test_what_is_no_end_of_a_job_is_not_timed(event, registration, now) -> None:
    change = DestinationChange(OwnEventType.DESTINATION_DISABLED, "t", "here", now, 1, 0)
    assert [earliest_delivery_time(event(about), registration()) for about in (None, change)] == [None, None]
