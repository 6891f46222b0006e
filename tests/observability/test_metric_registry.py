"""Counted metrics: their labels, and the time from which a delivery is timed."""

from collections.abc import Callable
from datetime import datetime

import pytest
from prometheus_client import generate_latest

from app.domain.event import DestinationChange, Event, OwnEventType
from app.domain.job import Job, JobState
from app.observability.metric_definitions import ATTEMPTS, DEATHS
from app.observability.metric_registry import MetricRegistry
from workers.telemetry import earliest_delivery_time, format_label


def lines(registry: MetricRegistry) -> list[str]:
    return [line for line in generate_latest(registry.collector()).decode().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("by_tenant", "labels"), [(False, ""), (True, 'tenant="acme",')])
def test_tenants_are_told_apart_if_the_operator_says_so(by_tenant: bool, labels: str) -> None:
    registry = MetricRegistry(tenants=by_tenant)
    registry.count(ATTEMPTS, "slack", "delivered", tenant="acme")
    registry.count(ATTEMPTS, "slack", "delivered", tenant="acme", by=2)
    registry.count(DEATHS, "gone", tenant="acme")
    assert f'cph_bridge_attempts_total{{format="slack",{labels}verdict="delivered"}} 3.0' in lines(registry)


def test_templates_are_one_format() -> None:
    assert [format_label(name) for name in ("standard", "template:mine")] == ["standard", "template"]


@pytest.fixture
def make_event(now: datetime) -> Callable[..., Event]:
    def make(about: Job | DestinationChange | None, observed: datetime = now) -> Event:
        return Event(id="evt_1", registration_id="reg_1", project="p", about=about, observed_at=observed, metadata={})

    return make


def test_a_callback_is_possible_since_the_job_has_ended_and_somebody_asked(make_event, registration, now) -> None:
    made = registration()
    early = Job("a", JobState.SUCCEEDED, end_time="2019-04-26T07:00:06Z")
    late = Job("a", JobState.SUCCEEDED, end_time="2026-01-02T03:05:00Z")
    assert earliest_delivery_time(make_event(early), made) == now
    assert str(earliest_delivery_time(make_event(late), made)) == "2026-01-02 03:05:00+00:00"
    assert earliest_delivery_time(make_event(Job("a", JobState.LOST)), made) == now


def test_what_is_no_end_of_a_job_is_not_timed(make_event, registration, now) -> None:
    change = DestinationChange(OwnEventType.DESTINATION_DISABLED, "t", "here", now, 1, 0)
    assert [earliest_delivery_time(make_event(about), registration()) for about in (None, change)] == [None, None]
