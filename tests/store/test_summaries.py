"""What all jobs of a registration have come to: told once, after the last."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import Settings, load
from app.domain.event import Event, EventType, Group
from app.domain.job import Job, JobState
from app.domain.registration import Notify, RegistrationState
from app.formats import standard
from app.store.engine import keys

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Nothing has to wait for a budget."""
    many = ("BRIDGE_CPH_RATE", "BRIDGE_CPH_PLACES", "BRIDGE_LANE_PLACES")
    return load(environment | dict.fromkeys(many, "100000"))


def end(runtime: Runtime, at: datetime, states: dict[str, JobState], **fields: str) -> None:
    """Ends these jobs; they are due."""
    for item in runtime.polls_due.claim_due(at, 2_000).items:
        if item.id in states:
            job = Job(item.id, states[item.id], status=2, **fields)
            runtime.scripts.run(runtime.watches.complete(item, job, at))


def told(runtime: Runtime, at: datetime) -> list[Event]:
    begun = runtime.deliveries.begin(runtime.deliveries_due.claim_due(at, 2_000).items, at + SECOND)
    return [runtime.deliveries.open(each)[1] for each in begun]


def summary(runtime: Runtime, at: datetime) -> Group:
    (event,) = told(runtime, at)
    assert isinstance(event.about, Group)
    return event.about


@pytest.mark.parametrize(
    ("notify", "types"),
    [
        (Notify.EACH, ["job.failed", "job.succeeded"]),
        (Notify.ALL, ["group.finished"]),
        (Notify.BOTH, ["group.finished", "job.failed", "job.succeeded"]),
    ],
)
def test_the_end_of_each_job_is_told_or_of_all_together_or_both(
    runtime: Runtime, registration, now: datetime, notify: Notify, types: list[str]
) -> None:
    runtime.registrations.add(registration("a", "b", notify=notify))
    end(runtime, now, {"a": JobState.SUCCEEDED})
    before = told(runtime, now)
    end(runtime, now + 2 * MINUTE, {"b": JobState.FAILED})
    after = told(runtime, now + 2 * MINUTE)
    assert EventType.GROUP_FINISHED not in [event.type for event in before]
    assert sorted({event.type for event in before + after}) == types


def test_events_that_are_not_wanted_are_not_told(runtime: Runtime, registration, now: datetime) -> None:
    wanted = (EventType.JOB_FAILED, EventType.GROUP_FINISHED)
    runtime.registrations.add(registration("a", "b", notify=Notify.BOTH, events=wanted))
    end(runtime, now, {"a": JobState.SUCCEEDED, "b": JobState.SUCCEEDED})
    assert [event.type for event in told(runtime, now)] == [EventType.GROUP_FINISHED]


def test_a_summary_counts_each_state_and_shows_what_went_wrong_first(
    runtime: Runtime, registration, now: datetime
) -> None:
    made = registration("a", "b", "c", notify=Notify.ALL, deadline_at=now + MINUTE)
    runtime.registrations.add(made)
    end(runtime, now, {"a": JobState.SUCCEEDED, "b": JobState.FAILED}, execute_msg="not for everybody")
    runtime.watches.end_overdue(now + MINUTE, 10)
    group = summary(runtime, now + MINUTE)
    assert group.counts == {JobState.SUCCEEDED: 1, JobState.FAILED: 1, JobState.LOST: 0, JobState.OVERDUE: 1}
    assert [(job.job_id, job.state) for job in group.jobs] == [("b", "failed"), ("c", "overdue"), ("a", "succeeded")]
    assert {job.execute_msg for job in group.jobs} == {None}
    assert not group.truncated
    assert not runtime.redis.exists(keys.ends(made.id))


def test_jobs_that_had_ended_before_are_in_the_summary(runtime: Runtime, registration, now: datetime) -> None:
    runtime.registrations.add(registration("a", "b"))
    end(runtime, now, {"a": JobState.SUCCEEDED, "b": JobState.FAILED})
    told(runtime, now)
    refused = Job(None, JobState.FAILED, phone_id="phone", error_code="CPS.0004")
    runtime.registrations.add(registration("a", "b", ended=(refused,), notify=Notify.ALL))
    group = summary(runtime, now)
    assert {(job.job_id, job.error_code) for job in group.jobs} == {("a", None), ("b", None), (None, "CPS.0004")}


def test_a_summary_of_more_than_a_thousand_jobs_is_cut(runtime: Runtime, registration, now: datetime) -> None:
    jobs = [f"job-{number:04}" for number in range(999)]
    refused = tuple(Job(None, JobState.FAILED) for _ in range(3))
    runtime.registrations.add(registration(*jobs, ended=refused, notify=Notify.ALL))
    end(runtime, now, dict.fromkeys(jobs, JobState.SUCCEEDED))
    group = summary(runtime, now)
    assert group.total == 1_002
    assert group.truncated
    assert len(group.jobs) < 1_000
    assert [job.state for job in group.jobs[:4]] == ["failed", "failed", "failed", "succeeded"]


@pytest.mark.parametrize("length", [0, 200, 1_000])
def test_a_summary_stays_below_200_kib(runtime: Runtime, registration, now: datetime, length: int) -> None:
    jobs = [f"{number:032}" for number in range(800)]
    runtime.registrations.add(registration(*jobs, notify=Notify.ALL))
    end(runtime, now, dict.fromkeys(jobs, JobState.FAILED), error_msg="/" * length)
    (event,) = told(runtime, now)
    assert isinstance(event.about, Group)
    assert event.about.total == 800
    assert event.about.truncated
    assert 100 * 1024 < len(standard.render(event)) < 200 * 1024 + 1024


def test_the_summary_of_a_cancelled_registration_is_not_sent(runtime: Runtime, registration, now: datetime) -> None:
    ended, running = registration("a", notify=Notify.ALL), registration("a", "b", notify=Notify.ALL)
    runtime.registrations.add(ended)
    runtime.registrations.add(running)
    end(runtime, now, {"a": JobState.SUCCEEDED})
    for each in (ended, running):
        runtime.registrations.cancel("t", each.id)
    assert told(runtime, now) == []
    assert runtime.redis.keys("cph:reg_*:ends") == []


def test_the_last_two_jobs_ending_at_the_same_moment_are_told_together_once(
    runtime: Runtime, registration, now: datetime
) -> None:
    barrier = Barrier(2)

    def complete(item, at: datetime) -> None:
        barrier.wait()
        runtime.scripts.run(runtime.watches.complete(item, Job(item.id, JobState.SUCCEEDED), at))

    with ThreadPoolExecutor(2) as pool:
        for number in range(200):
            at = now + number * SECOND
            made = registration("a", "b", at=at, notify=Notify.ALL)
            runtime.registrations.add(made)
            items = runtime.polls_due.claim_due(at, 2).items
            for each in [pool.submit(complete, item, at) for item in items]:
                each.result(30)
            (event,) = told(runtime, at)
            assert (event.registration_id, event.type) == (made.id, EventType.GROUP_FINISHED)
            assert summary_state(runtime, made.id) is RegistrationState.FINISHED
            runtime.redis.flushall()


def summary_state(runtime: Runtime, id: str) -> RegistrationState:
    found = runtime.registrations.get("t", id)
    assert found is not None
    return found[1].state
