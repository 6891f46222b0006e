"""What a poll worker makes of CPH's answers."""

from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.event import EventType
from app.domain.job import JobState
from app.store.engine import keys
from tests.support.served import Served

SECOND = timedelta(seconds=1)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_job_is_asked_for_at_once_and_then_by_the_cadence(polling, turn, watched, standin: Served, time) -> None:
    job = watched(standin.job(duration_s=60, begin_time="2019-04-26T07:00:00Z")["job_id"])
    assert job.state is JobState.PENDING
    assert turn(polling) == 1
    assert job.state is JobState.RUNNING
    assert turn(polling) == 1  # its request, which it has named
    assert turn(polling) == 0
    time.now += SECOND
    assert turn(polling) == 1


@pytest.mark.parametrize(
    ("outcome", "event"), [("succeeded", EventType.JOB_SUCCEEDED), ("failed", EventType.JOB_FAILED)]
)
def test_a_job_that_has_ended_is_told(polling, turn, watched, standin: Served, outcome: str, event: EventType) -> None:
    job = watched(standin.job(duration_s=0, outcome=outcome)["job_id"])
    turn(polling)
    assert job.state == outcome
    assert job.events == [event]
    assert turn(polling) == 0


def test_a_job_that_stays_unknown_is_lost_after_the_grace_time(polling, turn, watched, time) -> None:
    job = watched("nobody-knows-me")
    turn(polling)
    assert job.state is JobState.PENDING
    time.now += 9 * SECOND
    turn(polling)
    assert job.state is JobState.PENDING
    time.now += SECOND
    turn(polling)
    assert job.state is JobState.LOST
    assert job.events == [EventType.JOB_LOST]


def test_a_job_that_is_unknown_once_and_then_found_is_not_lost(polling, turn, watched, standin: Served, time) -> None:
    job = watched("appears-late")
    turn(polling)
    time.now += 9 * SECOND
    standin.job(job_id="appears-late", duration_s=60)
    turn(polling)
    assert job.state is JobState.RUNNING
    time.now += 60 * SECOND
    standin.call("POST", "/_standin/faults", json={"kind": "error_500"})
    turn(polling)
    assert job.events == []


def test_the_grace_time_begins_anew_when_a_job_was_seen_in_between(
    polling, turn, watched, standin: Served, stores: Stores, time
) -> None:
    job = watched("comes-and-goes")
    turn(polling)
    time.now += 9 * SECOND
    standin.job(job_id="comes-and-goes", duration_s=60)
    turn(polling)
    watch = stores.redis.hgetall(f"cph:watch:default:{job.job_id}")
    assert "unknown_since" not in watch


@pytest.mark.parametrize("kind", ["error_500", "html", "garbage", "truncated", "wrong_job_id"])
def test_an_answer_that_says_nothing_is_waited_out(polling, turn, watched, standin: Served, time, kind: str) -> None:
    job = watched(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": kind, "times": 1})
    turn(polling)
    assert (job.state, job.events) == (JobState.PENDING, [])
    time.now += SECOND
    turn(polling)
    assert job.events == [EventType.JOB_SUCCEEDED]


def test_an_unknown_status_counts_as_running(polling, turn, watched, standin: Served, time) -> None:
    job = watched(standin.job(duration_s=0)["job_id"])
    standin.order("/_standin/faults", {"kind": "unknown_status", "times": 1})
    turn(polling)
    assert job.state is JobState.RUNNING
    time.now += SECOND
    turn(polling)
    assert job.state is JobState.SUCCEEDED


def test_when_cph_throttles_the_whole_project_waits(polling, turn, watched, standin: Served, time) -> None:
    first, second = (watched(standin.job(duration_s=0)["job_id"]) for _ in range(2))
    standin.order("/_standin/faults", {"kind": "throttle", "times": 2})
    assert turn(polling) == 2
    time.now += 9 * SECOND
    third = watched(standin.job(duration_s=0)["job_id"])
    assert turn(polling) == 0
    assert third.state is JobState.PENDING
    for _ in range(12):
        time.now += 10 * SECOND
        assert turn(polling) <= 2  # ten a minute, the stand-in said
    assert {job.state for job in (first, second, third)} == {JobState.SUCCEEDED}


def test_a_project_that_is_not_configured_any_more_is_no_crash(polling, turn, watched, time) -> None:
    job = watched("job", project="gone")
    assert turn(polling) == 1
    assert job.state is JobState.PENDING
    time.now += 59 * SECOND
    assert turn(polling) == 0


def test_a_state_that_goes_backwards_after_the_end_is_not_told(polling, turn, watched, standin: Served, time) -> None:
    made = standin.job(duration_s=0)
    job = watched(made["job_id"])
    turn(polling)
    standin.job(job_id=made["job_id"], duration_s=0, outcome="failed")
    later = watched(made["job_id"])
    time.now += 60 * SECOND
    assert turn(polling) == 0
    assert job.events == [EventType.JOB_SUCCEEDED, EventType.JOB_SUCCEEDED]
    assert later.state is JobState.SUCCEEDED


def test_a_hundred_registrations_for_one_job_cost_as_many_calls_as_one(
    polling, turn, watched, standin: Served, time
) -> None:
    made = standin.job(duration_s=3600)
    jobs = [watched(made["job_id"]) for _ in range(100)]
    for _ in range(5):
        turn(polling)
        time.now += SECOND
    # Once a second; and once more, when its request is tried out while it is still asked for by itself.
    assert standin.call("GET", "/_standin/calls").json()["by_job"][made["job_id"]] == 6
    assert {job.state for job in jobs} == {JobState.RUNNING}


def test_without_tracing_nobody_looks_for_traces(polling, turn, watched, wanted, stores: Stores) -> None:
    watched("nobody-knows-me", traceparent=PARENT)
    wanted("no-request")
    stores.redis.config_resetstat()
    assert turn(polling) == 2
    ran = stores.redis.info("commandstats")
    assert "cmdstat_hgetall" in ran  # as any look at a request does
    assert "cmdstat_hscan" not in ran


def test_who_gives_no_trace_has_none_kept(watched, stores: Stores) -> None:
    without, given = watched("one"), watched("two", traceparent=PARENT)
    kept = [stores.redis.hget(keys.progress(each.registration.id), "traceparent") for each in (without, given)]
    assert kept == [None, given.registration.traceparent]
