"""What poll workers record about a project."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.cph.client import Answered, CphClient, Unanswered, Unknown
from app.cph.credentials import FixedToken
from app.domain.job import Job, JobState
from app.domain.project_health import ProjectHealth, ProjectState
from app.store.project_health import set_project_health
from app.transport.client import Transport
from tests.support.served import Served
from workers.polling.backoff import back_off
from workers.polling.project_health import HealthRecorder
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
REFUSAL = Unanswered("HTTP 403 CPS.0001: no", unauthenticated=True)
LANE = "cph:poll:lane:default"


@pytest.fixture
def client() -> Iterator[CphClient]:
    transport = Transport()
    yield CphClient(
        transport=transport,
        endpoint="http://127.0.0.1:9",
        project_id="p",
        credentials=FixedToken("t"),
        deadline=SECOND,
    )
    transport.close()


def health_of(stores: Stores) -> ProjectHealth:
    return stores.project_healths.of(["default"])[0]


def test_what_cph_answers_to_a_poll_worker_is_recorded(
    poll_worker, run_due, stores, registration, standin: Served, now
) -> None:
    assert health_of(stores) == ProjectHealth()
    stores.registrations.add(registration(standin.job(duration_s=60)["job_id"]))
    run_due(poll_worker)
    assert health_of(stores) == ProjectHealth(answered_at=now)


def test_the_end_of_credentials_that_others_have_replaced_is_forgotten(
    runtime: Runtime, client: CphClient, telemetry: Telemetry, now
) -> None:
    seen = ProjectHealth(answered_at=now, credentials_expire_at=now + MINUTE)
    runtime.stores.scripts.run(set_project_health("default", seen))
    recorder = HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of, telemetry)
    runtime.stores.scripts.run_all(recorder.record("default", client, Unanswered("busy"), now))
    assert health_of(runtime.stores).credentials_expire_at == now + MINUTE
    runtime.stores.scripts.run_all(recorder.record("default", client, Unknown(), now))
    assert health_of(runtime.stores) == ProjectHealth(answered_at=now, failed_at=now, failure="busy")


def test_answers_and_failures_are_each_recorded_once_a_second(
    runtime: Runtime, client: CphClient, telemetry: Telemetry, now
) -> None:
    recorder = HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of, telemetry)
    running, no_answer = Answered(Job("j", JobState.RUNNING)), Unanswered("busy")
    recorded = [
        bool(recorder.record(project, client, outcome, now + timedelta(seconds=seconds)))
        for project, outcome, seconds in [
            ("default", running, 0),
            ("default", Unknown(), 0.5),
            ("default", no_answer, 0.5),
            ("default", no_answer, 0.9),
            ("other", running, 0.9),
            ("default", running, 1),
        ]
    ]
    assert recorded == [True, False, True, False, True, True]


def test_a_refusal_is_reported_with_its_reason_until_an_answer_comes(
    runtime: Runtime, client: CphClient, telemetry: Telemetry, now
) -> None:
    recorder = HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of, telemetry)
    runtime.stores.scripts.run_all(recorder.record("default", client, REFUSAL, now))
    back_off(runtime.stores.polls_due, telemetry, "default", REFUSAL, now)
    assert health_of(runtime.stores) == ProjectHealth(failed_at=now, failure=REFUSAL.reason, refused_since=now)
    runtime.stores.scripts.run_all(recorder.record("default", client, Unknown(), now + MINUTE))
    assert health_of(runtime.stores).state is ProjectState.OK


def test_a_rate_of_the_projects_own_reaches_its_lane_and_leaves_it_again(
    stores: Stores, client: CphClient, telemetry: Telemetry, now
) -> None:
    rates: dict[str, float] = {"default": 2.5}
    recorder = HealthRecorder(stores.polls_due, rates.get, telemetry)
    stores.scripts.run_all(recorder.record("default", client, Unknown(), now))
    assert stores.redis.hget(LANE, "rate") == "2.5"
    rates.clear()
    stores.scripts.run_all(recorder.record("default", client, Unknown(), now + SECOND))
    assert stores.redis.hget(LANE, "rate") is None
