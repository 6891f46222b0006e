"""Polling by job id: how the poll worker handles CPH's answers."""

from datetime import timedelta
from itertools import pairwise

import pytest

from app.bootstrap.stores import Stores
from app.domain.event import EventType
from app.domain.job import JobState
from app.store.engine import keys
from tests.support.served import Served

SECOND = timedelta(seconds=1)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_job_is_asked_for_at_once_and_then_by_the_cadence(
    poll_worker, run_due, make_watched_job, standin: Served, clock
) -> None:
    job = make_watched_job(standin.job(duration_s=60, begin_time="2019-04-26T07:00:00Z")["job_id"])
    assert job.state is JobState.PENDING
    assert run_due(poll_worker) == 1
    assert job.state is JobState.RUNNING
    assert run_due(poll_worker) == 1  # the request that the answer named
    assert run_due(poll_worker) == 0
    clock.now += SECOND
    assert run_due(poll_worker) == 1


@pytest.mark.parametrize(
    ("outcome", "event"), [("succeeded", EventType.JOB_SUCCEEDED), ("failed", EventType.JOB_FAILED)]
)
def test_a_job_that_has_ended_is_reported(
    poll_worker, run_due, make_watched_job, standin: Served, outcome: str, event: EventType
) -> None:
    job = make_watched_job(standin.job(duration_s=0, outcome=outcome)["job_id"])
    run_due(poll_worker)
    assert job.state == outcome
    assert job.events == [event]
    assert run_due(poll_worker) == 0


def test_a_job_that_stays_unknown_is_lost_after_the_grace_time(poll_worker, run_due, make_watched_job, clock) -> None:
    job = make_watched_job("nobody-knows-me")
    run_due(poll_worker)
    assert job.state is JobState.PENDING
    clock.now += 9 * SECOND
    run_due(poll_worker)
    assert job.state is JobState.PENDING
    clock.now += SECOND
    run_due(poll_worker)
    assert job.state is JobState.LOST
    assert job.events == [EventType.JOB_LOST]


@pytest.mark.parametrize("lost_grace", [timedelta(minutes=10)])
def test_a_job_that_stays_unknown_is_asked_for_ever_more_seldom(
    poll_worker, run_due, make_watched_job, clock, lost_grace: timedelta
) -> None:
    job = make_watched_job("nobody-knows-me", deadline_at=clock.now + 2 * lost_grace)
    begin, polled_s = clock.now, []
    while job.state is JobState.PENDING:
        if run_due(poll_worker):
            polled_s.append((clock.now - begin).total_seconds())
        clock.now += SECOND
    pauses = [later - earlier for earlier, later in pairwise(polled_s)]
    assert max(pause for pause, polled in zip(pauses, polled_s, strict=False) if polled < 30) <= 4
    assert len([polled for polled in polled_s if polled > 30]) < 12
    assert polled_s[-1] == lost_grace.total_seconds()


def test_a_job_that_is_unknown_once_and_then_found_is_not_lost(
    poll_worker, run_due, make_watched_job, standin: Served, clock
) -> None:
    job = make_watched_job("appears-late")
    run_due(poll_worker)
    clock.now += 9 * SECOND
    standin.job(job_id="appears-late", duration_s=60)
    run_due(poll_worker)
    assert job.state is JobState.RUNNING
    clock.now += 60 * SECOND
    standin.call("POST", "/_standin/faults", json={"kind": "error_500"})
    run_due(poll_worker)
    assert job.events == []


def test_the_grace_time_begins_anew_when_a_job_was_seen_in_between(
    poll_worker, run_due, make_watched_job, standin: Served, stores: Stores, clock
) -> None:
    job = make_watched_job("comes-and-goes")
    run_due(poll_worker)
    clock.now += 9 * SECOND
    standin.job(job_id="comes-and-goes", duration_s=60)
    run_due(poll_worker)
    watch = stores.redis.hgetall(f"cph:watch:default:{job.job_id}")
    assert "unknown_since" not in watch


@pytest.mark.parametrize("kind", ["error_500", "html", "garbage", "truncated", "wrong_job_id"])
def test_an_answer_that_says_nothing_is_waited_out(
    poll_worker, run_due, make_watched_job, standin: Served, clock, kind: str
) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": kind, "times": 1})
    run_due(poll_worker)
    assert (job.state, job.events) == (JobState.PENDING, [])
    clock.now += SECOND
    run_due(poll_worker)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_an_unknown_status_counts_as_running(poll_worker, run_due, make_watched_job, standin: Served, clock) -> None:
    job = make_watched_job(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": "unknown_status", "times": 1})
    run_due(poll_worker)
    assert job.state is JobState.RUNNING
    clock.now += SECOND
    run_due(poll_worker)
    assert job.state is JobState.SUCCEEDED


def test_when_cph_throttles_the_whole_project_waits(
    poll_worker, run_due, make_watched_job, standin: Served, clock
) -> None:
    first, second = (make_watched_job(standin.job(duration_s=0)["job_id"]) for _ in range(2))
    standin.order("/_standin/faults", {"kind": "throttle", "times": 2})
    assert run_due(poll_worker) == 2
    clock.now += 9 * SECOND
    third = make_watched_job(standin.job(duration_s=0)["job_id"])
    assert run_due(poll_worker) == 0
    assert third.state is JobState.PENDING
    for _ in range(12):
        clock.now += 10 * SECOND
        assert run_due(poll_worker) <= 2  # the stand-in's 429 named a limit of ten a minute
    assert {job.state for job in (first, second, third)} == {JobState.SUCCEEDED}


def test_a_project_that_is_not_configured_any_more_is_no_crash(poll_worker, run_due, make_watched_job, clock) -> None:
    job = make_watched_job("job", project="gone")
    assert run_due(poll_worker) == 1
    assert job.state is JobState.PENDING
    clock.now += 59 * SECOND
    assert run_due(poll_worker) == 0


def test_a_state_that_goes_backwards_after_the_end_is_not_reported(
    poll_worker, run_due, make_watched_job, standin: Served, clock
) -> None:
    made = standin.job(duration_s=0)
    job = make_watched_job(made["job_id"])
    run_due(poll_worker)
    standin.job(job_id=made["job_id"], duration_s=0, outcome="failed")
    later = make_watched_job(made["job_id"])
    clock.now += 60 * SECOND
    assert run_due(poll_worker) == 0
    assert job.events == [EventType.JOB_SUCCEEDED, EventType.JOB_SUCCEEDED]
    assert later.state is JobState.SUCCEEDED


def test_a_hundred_registrations_for_one_job_cost_as_many_calls_as_one(
    poll_worker, run_due, make_watched_job, standin: Served, clock
) -> None:
    made = standin.job(duration_s=3600)
    jobs = [make_watched_job(made["job_id"]) for _ in range(100)]
    for _ in range(5):
        run_due(poll_worker)
        clock.now += SECOND
    # Once a second, and one ListJobs while the job is still polled by its id.
    assert standin.call("GET", "/_standin/calls").json()["by_job"][made["job_id"]] == 6
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_without_tracing_nobody_looks_for_traces(
    poll_worker, run_due, make_watched_job, make_request_registration, stores: Stores
) -> None:
    make_watched_job("nobody-knows-me", traceparent=PARENT)
    make_request_registration("no-request")
    stores.redis.config_resetstat()
    assert run_due(poll_worker) == 2
    commands = stores.redis.info("commandstats")
    assert "cmdstat_hgetall" in commands  # as loading any request does
    assert "cmdstat_hscan" not in commands


def test_who_gives_no_trace_has_none_kept(make_watched_job, stores: Stores) -> None:
    without, given = make_watched_job("one"), make_watched_job("two", traceparent=PARENT)
    stored = [stores.redis.hget(keys.progress(each.registration.id), "traceparent") for each in (without, given)]
    assert stored == [None, given.registration.traceparent]
