"""Polling while CPH refuses our credentials."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from app.bootstrap.stores import Stores
from app.cph.client import Unanswered
from app.domain.job import JobState
from app.domain.project_health import ProjectState
from app.domain.times import to_ms
from app.store.engine import keys
from tests.support.claims import claim_due
from tests.support.served import Served
from workers.polling.backoff import back_off
from workers.polling.retry_refused import RefusedProjectRetry
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def refuse_calls(standin: Served) -> Callable[[], None]:
    """Makes CPH refuse all credentials, until its faults are deleted."""
    return lambda: standin.order("/_standin/faults", {"kind": "unauthorized", "times": 1_000})


@pytest.fixture
def refused_project_retry(poll_worker, stores: Stores, clock) -> RefusedProjectRetry:
    retry = RefusedProjectRetry(stores.polls_due, stores.scripts, poll_worker._clients, clock)
    retry.tick(asked=False)
    return retry


def logged_fields(caplog, event: str) -> list[dict]:
    return [record.fields for record in caplog.records if record.message == event]


def refused_until(stores: Stores, now: datetime) -> datetime | None:
    return stores.polls_due.budgets(["default"], now)[0].paused_until


@pytest.fixture(autouse=True)
def _capture_info_logs(caplog) -> None:
    caplog.set_level("INFO", logger="bridge")


def test_refusals_at_one_moment_count_as_one_and_pauses_grow(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, stores, clock, caplog
) -> None:
    jobs = [make_watched_job(standin.job(duration_s=0)["job_id"]) for _ in range(5)]
    refuse_calls()
    assert run_due(poll_worker) == 5
    assert refused_until(stores, clock.now) == clock.now + MINUTE
    pauses = []
    for _ in range(8):
        clock.now = refused_until(stores, clock.now) - SECOND
        assert run_due(poll_worker) == 0
        clock.now += SECOND
        assert run_due(poll_worker) == 1
        pauses.append((refused_until(stores, clock.now) - clock.now) // MINUTE)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert [line["pause_s"] // 60 for line in logged_fields(caplog, "project.refused")] == [1, *pauses]
    assert not logged_fields(caplog, "cph.unanswered")
    assert {job.state for job in jobs} == {JobState.PENDING}


def test_one_call_alone_tries_and_its_answer_opens_the_project(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, stores, clock, caplog
) -> None:
    jobs = [make_watched_job(standin.job(duration_s=0)["job_id"]) for _ in range(5)]
    refuse_calls()
    run_due(poll_worker)
    standin.call("DELETE", "/_standin/faults")
    clock.now += MINUTE
    [probe] = claim_due(poll_worker.agenda, clock.now, 100)
    clock.now += SECOND
    assert claim_due(poll_worker.agenda, clock.now, 100) == ()  # while the probe is under way
    [task] = poll_worker.prepare([probe])
    stores.scripts.run_all(poll_worker.do(task))
    assert stores.project_healths.of(["default"])[0].state is ProjectState.OK
    assert run_due(poll_worker) == 4
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert logged_fields(caplog, "project.answers_again") == [{"project": "default"}]


def test_an_answer_that_was_under_way_when_others_were_refused_opens_nothing(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, stores, clock
) -> None:
    for _ in range(2):
        make_watched_job(standin.job(duration_s=60)["job_id"])
    first, second = claim_due(poll_worker.agenda, clock.now, 100)
    refuse_calls()
    [task] = poll_worker.prepare([first])
    stores.scripts.run_all(poll_worker.do(task))
    standin.call("DELETE", "/_standin/faults")
    clock.now += 5 * SECOND
    [task] = poll_worker.prepare([second])
    stores.scripts.run_all(poll_worker.do(task))
    assert run_due(poll_worker) == 0
    assert refused_until(stores, clock.now) == clock.now + 55 * SECOND
    assert stores.project_healths.of(["default"])[0].state is ProjectState.REFUSED


def test_after_a_success_the_pauses_begin_anew(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, stores, clock
) -> None:
    make_watched_job(standin.job(duration_s=3600)["job_id"])
    for _ in range(3):
        refuse_calls()
        run_due(poll_worker)
        assert refused_until(stores, clock.now) == clock.now + MINUTE
        standin.call("DELETE", "/_standin/faults")
        clock.now += MINUTE
        run_due(poll_worker)
        clock.now += 2 * MINUTE


def test_credentials_that_were_too_new_to_renew_are_tried_soon_but_once(
    poll_worker, telemetry: Telemetry, stores: Stores, clock
) -> None:
    """A token that expires within seconds of its issue: see MIN_RENEWAL_INTERVAL in app/cph/cached_credentials.py."""
    too_new = Unanswered("CPH refuses newly issued credentials", 3 * SECOND, unauthenticated=True)
    for pause in (3 * SECOND, 2 * MINUTE, 4 * MINUTE):
        back_off(poll_worker.agenda, telemetry, "default", too_new, clock.now)
        assert refused_until(stores, clock.now) == clock.now + pause
        clock.now += pause


def test_a_403_of_cph_itself_is_a_refusal_too(
    poll_worker, run_due, make_watched_job, standin: Served, stores, clock
) -> None:
    make_watched_job("a-job", project="default")
    poll_worker._clients["default"]._jobs = standin.about["url"] + "/v1/other/cloud-phone/jobs"
    run_due(poll_worker)
    assert stores.project_healths.of(["default"])[0].state is ProjectState.REFUSED


def test_that_nothing_may_be_listed_does_not_say_that_the_project_is_accepted(
    poll_worker, run_due, make_watched_job, registration, standin: Served, stores: Stores, clock
) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    stores.registrations.add(registration(job_ids=(), request_id="0" * 32))
    standin.order("/_standin/faults", {"kind": "forbidden", "times": None})
    for minutes in (1, 2, 4):
        while refused_until(stores, clock.now) is None:
            clock.now += SECOND
            run_due(poll_worker)
        assert refused_until(stores, clock.now) == clock.now + minutes * MINUTE
        clock.now += minutes * MINUTE
    assert job.state is JobState.PENDING


def test_an_operator_may_have_it_tried_at_once_but_not_all_the_time(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, refused_project_retry, stores, clock
) -> None:
    make_watched_job(standin.job(duration_s=0)["job_id"])
    refuse_calls()
    for minutes in (1, 2, 4):
        run_due(poll_worker)
        assert refused_until(stores, clock.now) == clock.now + minutes * MINUTE
        clock.now += 5 * SECOND
        refused_project_retry.tick(asked=True)
        assert run_due(poll_worker) == 0
        clock.now += 5 * SECOND


def test_changed_credentials_are_tried_at_once_and_what_iam_said_to_the_old_ones_is_forgotten(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, refused_project_retry, runtime, clock
) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    refuse_calls()
    run_due(poll_worker)
    standin.call("DELETE", "/_standin/faults")
    runtime.stores.redis.set(keys.token("default"), "IAM is to be left alone")
    clock.now += 20 * SECOND
    refused_project_retry.tick(asked=False)
    assert run_due(poll_worker) == 0
    assert runtime.stores.redis.exists(keys.token("default"))
    poll_worker._clients["default"] = another = runtime.cph_client("default")
    assert another
    refused_project_retry.tick(asked=False)
    assert not runtime.stores.redis.exists(keys.token("default"))
    assert refused_until(runtime.stores, clock.now) is None
    assert runtime.stores.redis.zscore(keys.lanes("poll"), "default") == to_ms(clock.now)
    assert job.state is JobState.PENDING


def test_a_worker_that_starts_tries_a_minute_after_the_last_refusal(
    poll_worker, run_due, make_watched_job, standin, refuse_calls, stores, clock
) -> None:
    make_watched_job(standin.job(duration_s=0)["job_id"])
    refuse_calls()
    run_due(poll_worker)
    clock.now += MINUTE
    run_due(poll_worker)
    clock.now += 20 * SECOND
    RefusedProjectRetry(stores.polls_due, stores.scripts, poll_worker._clients, clock).tick(asked=False)
    assert refused_until(stores, clock.now) == clock.now + 40 * SECOND


def test_a_project_that_is_not_refused_is_left_alone_by_a_retry(refused_project_retry, stores: Stores, clock) -> None:
    stores.scripts.run(stores.polls_due.pause("default", clock.now + MINUTE))
    refused_project_retry.tick(asked=True)
    assert refused_until(stores, clock.now) == clock.now + MINUTE
