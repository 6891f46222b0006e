"""Group events: one summary of all jobs of a registration, created when the last job ends."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.event import Event, EventType, Group
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.domain.registration import Notify, RegistrationState
from app.formats import standard
from app.store.engine import keys
from tests.support.claims import claim_due, mark_answered, pass_deadlines

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Rates and concurrency that no test reaches."""
    limits = ("BRIDGE_CPH_RATE", "BRIDGE_CPH_CONCURRENCY", "BRIDGE_DESTINATION_CONCURRENCY")
    return load(environment | dict.fromkeys(limits, "100000"))


def end(stores: Stores, at: datetime, states: dict[str, JobState], **fields: str) -> None:
    """Completes these jobs, which are due."""
    for item in claim_due(stores.polls_due, at, 2_000):
        if item.id in states:
            job = Job(item.id, states[item.id], status=2, **fields)
            stores.scripts.run(stores.watches.complete(item, job, at))


def due_events(stores: Stores, at: datetime) -> list[Event]:
    """Begins all deliveries that are due. Returns their events."""
    mark_answered(stores.redis)
    begun = stores.deliveries.begin(claim_due(stores.deliveries_due, at, 2_000), at + SECOND)
    return [stores.deliveries.decrypt(each)[1] for each in begun]


def summary(stores: Stores, at: datetime) -> Group:
    (event,) = due_events(stores, at)
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
def test_the_end_of_each_job_is_reported_or_of_all_together_or_both(
    stores: Stores, registration, now: datetime, notify: Notify, types: list[str]
) -> None:
    stores.registrations.add(registration("a", "b", notify=notify))
    end(stores, now, {"a": JobState.SUCCEEDED})
    before = due_events(stores, now)
    end(stores, now + 2 * MINUTE, {"b": JobState.FAILED})
    after = due_events(stores, now + 2 * MINUTE)
    assert EventType.GROUP_FINISHED not in [event.type for event in before]
    assert sorted({event.type for event in before + after}) == types


def test_events_that_are_not_wanted_are_not_reported(stores: Stores, registration, now: datetime) -> None:
    wanted = (EventType.JOB_FAILED, EventType.GROUP_FINISHED)
    stores.registrations.add(registration("a", "b", notify=Notify.BOTH, events=wanted))
    end(stores, now, {"a": JobState.SUCCEEDED, "b": JobState.SUCCEEDED})
    assert [event.type for event in due_events(stores, now)] == [EventType.GROUP_FINISHED]


def test_a_summary_counts_each_state_and_shows_what_went_wrong_first(
    stores: Stores, registration, now: datetime
) -> None:
    made = registration("a", "b", "c", notify=Notify.ALL, deadline_at=now + MINUTE)
    stores.registrations.add(made)
    end(stores, now, {"a": JobState.SUCCEEDED, "b": JobState.FAILED}, execute_msg="not for everybody")
    pass_deadlines(stores, now + MINUTE)
    group = summary(stores, now + 2 * MINUTE)
    assert group.counts == {JobState.SUCCEEDED: 1, JobState.FAILED: 1, JobState.LOST: 0, JobState.OVERDUE: 1}
    assert [(job.job_id, job.state) for job in group.jobs] == [("b", "failed"), ("c", "overdue"), ("a", "succeeded")]
    assert {job.execute_msg for job in group.jobs} == {None}
    assert not group.truncated
    assert not stores.redis.exists(keys.ends(made.id))


def test_jobs_that_had_ended_before_are_in_the_summary(stores: Stores, registration, now: datetime) -> None:
    stores.registrations.add(registration("a", "b"))
    end(stores, now, {"a": JobState.SUCCEEDED, "b": JobState.FAILED})
    due_events(stores, now)
    refused = Job(None, JobState.FAILED, phone_id="phone", error_code="CPS.0004")
    stores.registrations.add(registration("a", "b", ended=(refused,), notify=Notify.ALL))
    group = summary(stores, now)
    assert {(job.job_id, job.error_code) for job in group.jobs} == {("a", None), ("b", None), (None, "CPS.0004")}


def test_a_summary_of_more_than_a_thousand_jobs_is_cut(stores: Stores, registration, now: datetime) -> None:
    jobs = [f"job-{number:04}" for number in range(999)]
    refused = tuple(Job(None, JobState.FAILED) for _ in range(3))
    stores.registrations.add(registration(*jobs, ended=refused, notify=Notify.ALL))
    end(stores, now, dict.fromkeys(jobs, JobState.SUCCEEDED))
    group = summary(stores, now)
    assert group.total == 1_002
    assert group.truncated
    assert len(group.jobs) < 1_000
    assert [job.state for job in group.jobs[:4]] == ["failed", "failed", "failed", "succeeded"]


@pytest.mark.parametrize("length", [0, 200, 1_000])
def test_a_summary_stays_below_200_kib(stores: Stores, registration, now: datetime, length: int) -> None:
    jobs = [f"{number:032}" for number in range(800)]
    stores.registrations.add(registration(*jobs, notify=Notify.ALL))
    end(stores, now, dict.fromkeys(jobs, JobState.FAILED), error_msg="/" * length)
    (event,) = due_events(stores, now)
    assert isinstance(event.about, Group)
    assert event.about.total == 800
    assert event.about.truncated
    assert 100 * 1024 < len(standard.render(event)) < 200 * 1024 + 1024


def test_a_summary_of_overdue_jobs_stays_below_200_kib(stores: Stores, registration, now: datetime) -> None:
    jobs = [f"{number:032}" for number in range(800)]
    stores.registrations.add(registration(*jobs, notify=Notify.ALL, deadline_at=now + MINUTE))
    failing = Unresolved(UnresolvedReason.CPH_UNREACHABLE, last_error="APIGW.0613")
    claimed = claim_due(stores.polls_due, now, 2_000)
    for item, watch in zip(claimed, stores.watches.load(claimed), strict=True):
        assert watch
        stores.scripts.run(stores.watches.postpone(item, watch, now + MINUTE, now, failing=failing))
    for minutes in range(2, 12):  # each call ends 100 jobs
        pass_deadlines(stores, now + minutes * MINUTE)
    (event,) = due_events(stores, now + 20 * MINUTE)
    assert len(standard.render(event)) < 200 * 1024 + 1024
    assert {job["reason"] for job in standard.data(event)["jobs"]} == {"cph_unreachable"}


def test_the_summary_of_a_cancelled_registration_is_not_sent(stores: Stores, registration, now: datetime) -> None:
    ended, running = registration("a", notify=Notify.ALL), registration("a", "b", notify=Notify.ALL)
    stores.registrations.add(ended)
    stores.registrations.add(running)
    end(stores, now, {"a": JobState.SUCCEEDED})
    for each in (ended, running):
        stores.registrations.cancel("t", each.id)
    assert due_events(stores, now) == []
    assert stores.redis.keys("cph:reg_*:ends") == []


def test_the_last_two_jobs_ending_at_the_same_moment_are_reported_together_once(
    stores: Stores, registration, now: datetime
) -> None:
    barrier = Barrier(2)

    def complete(item, at: datetime) -> None:
        barrier.wait()
        stores.scripts.run(stores.watches.complete(item, Job(item.id, JobState.SUCCEEDED), at))

    with ThreadPoolExecutor(2) as pool:
        for number in range(200):
            at = now + number * SECOND
            made = registration("a", "b", at=at, notify=Notify.ALL)
            stores.registrations.add(made)
            items = claim_due(stores.polls_due, at, 2)
            for each in [pool.submit(complete, item, at) for item in items]:
                each.result(30)
            (event,) = due_events(stores, at)
            assert (event.registration_id, event.type) == (made.id, EventType.GROUP_FINISHED)
            assert registration_state(stores, made.id) is RegistrationState.FINISHED
            stores.redis.flushall()


def registration_state(stores: Stores, id: str) -> RegistrationState:
    found = stores.registrations.get("t", id)
    assert found is not None
    return found[1].state
