"""Registrations for all jobs of a request, and for jobs whose request the caller names."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.domain.event import EventType, Group
from app.domain.job import Job, JobState
from app.domain.registration import Notify
from app.store.engine import keys
from tests.support.claims import claim_due, mark_answered, pass_deadlines
from tests.support.served import Served

SECOND = timedelta(seconds=1)
QUIET = 30 * SECOND


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load(environment | {"BRIDGE_CPH_RATE": "1000", "BRIDGE_LOST_GRACE_S": "10"})


def job_states(stores: Stores, made) -> dict[str, JobState]:
    found = stores.registrations.get("t", made.id)
    assert found is not None
    return dict(found[1].jobs)


def events(deliveries_of) -> list[tuple[str | None, EventType]]:
    return sorted((delivery.job_id or "", delivery.type) for delivery in deliveries_of())


def test_all_jobs_of_a_request_are_found_and_reported(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    jobs = standin.jobs(150, duration_s=0)
    made = make_request_registration(jobs[0]["request_id"])
    poll_rounds(3)
    assert set(job_states(stores, made)) == {job["job_id"] for job in jobs}
    assert events(deliveries_of) == sorted((job["job_id"], EventType.JOB_SUCCEEDED) for job in jobs)


def test_jobs_that_appear_late_belong_to_it_until_nothing_new_has_come_for_a_while(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of, caplog
) -> None:
    caplog.set_level("INFO", "bridge")
    first = standin.job(duration_s=0)
    request_id = first["request_id"]
    made = make_request_registration(request_id, notify=Notify.ALL)
    poll_rounds(QUIET.seconds - 2)
    (late,) = standin.order("/_standin/jobs", [{"request_id": request_id, "duration_s": 0}])["jobs"]
    poll_rounds(5)
    assert deliveries_of() == []
    assert set(job_states(stores, made)) == {first["job_id"], late["job_id"]}
    poll_rounds(QUIET.seconds + 5)
    assert events(deliveries_of) == [("", EventType.GROUP_FINISHED)]
    standin.order("/_standin/jobs", [{"request_id": request_id, "duration_s": 0}])
    poll_rounds(60)
    assert len(job_states(stores, made)) == 2
    reported = [record.fields["job_id"] for record in caplog.records if record.getMessage() == "job.ended"]
    assert reported == [first["job_id"], late["job_id"]]
    assert not stores.redis.exists(keys.request("default", request_id))


def test_the_summary_waits_for_the_last_job(
    make_request_registration, poll_rounds, standin: Served, deliveries_of, stores, clock
) -> None:
    quick, slow = standin.jobs(2, duration_s=3600)
    make_request_registration(quick["request_id"], notify=Notify.BOTH)
    poll_rounds(QUIET.seconds + 5)
    standin.end(quick)
    poll_rounds(10)
    assert events(deliveries_of) == [(quick["job_id"], EventType.JOB_SUCCEEDED)]
    standin.end(slow, outcome="failed")
    poll_rounds(10)
    assert ("", EventType.GROUP_FINISHED) in events(deliveries_of)
    mark_answered(stores.redis)
    (begun,) = [
        each
        for each in stores.deliveries.begin(claim_due(stores.deliveries_due, clock(), 10), clock() + SECOND)
        if isinstance(stores.deliveries.decrypt(each)[1].about, Group)
    ]
    group = stores.deliveries.decrypt(begun)[1].about
    assert [(job.job_id, job.state) for job in group.jobs] == [
        (slow["job_id"], "failed"),
        (quick["job_id"], "succeeded"),
    ]


def test_who_registers_later_is_notified_of_all_jobs_too(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    ended, running = standin.jobs(2, duration_s=3600)
    request_id = ended["request_id"]
    make_request_registration(request_id)
    poll_rounds(5)
    standin.end(ended)
    poll_rounds(5)
    second = make_request_registration(request_id)
    poll_rounds(5)
    assert job_states(stores, second) == {ended["job_id"]: JobState.SUCCEEDED, running["job_id"]: JobState.RUNNING}
    assert events(deliveries_of) == [(ended["job_id"], EventType.JOB_SUCCEEDED)] * 2
    poll_rounds(60)
    standin.end(running)
    poll_rounds(15)
    assert events(deliveries_of) == sorted([(job["job_id"], EventType.JOB_SUCCEEDED) for job in (ended, running)] * 2)


def test_a_job_that_somebody_waits_for_by_its_id_is_reported_to_both(
    make_watched_job, make_request_registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    job, *_ = standin.jobs(3, duration_s=3600)
    by_id = make_watched_job(job["job_id"])
    make_request_registration(job["request_id"])
    poll_rounds(5)
    standin.end(job)
    poll_rounds(5)
    assert by_id.state is JobState.SUCCEEDED
    assert events(deliveries_of) == [(job["job_id"], EventType.JOB_SUCCEEDED)] * 2


def test_a_request_that_cph_never_shows_is_lost_when_the_grace_time_is_over(
    stores: Stores, make_request_registration, poll_rounds, deliveries_of, request_id: str
) -> None:
    made = make_request_registration(request_id)
    poll_rounds(8)
    assert deliveries_of() == []
    poll_rounds(5)
    assert events(deliveries_of) == [("", EventType.JOB_LOST)]
    found = stores.registrations.get("t", made.id)
    assert found is not None
    assert (found[1].state, found[1].unseen, found[1].jobs) == ("finished", "lost", {})
    assert not stores.redis.exists(keys.request("default", request_id))


def test_a_request_that_is_unknown_at_first_is_not_lost(
    make_request_registration, poll_rounds, standin: Served, deliveries_of, runtime, request_id: str
) -> None:
    made = make_request_registration(request_id)
    poll_rounds(5)
    (job,) = standin.order("/_standin/jobs", [{"request_id": made.request_id, "duration_s": 0}])["jobs"]
    poll_rounds(20)
    assert events(deliveries_of) == [(job["job_id"], EventType.JOB_SUCCEEDED)]


def test_a_request_that_cannot_be_asked_for_until_the_deadline_is_overdue(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of, now, clock, request_id: str
) -> None:
    standin.order("/_standin/faults", {"kind": "error_500", "times": None})
    make_request_registration(request_id, deadline_at=now + 60 * SECOND, notify=Notify.BOTH)
    poll_rounds(59)
    assert deliveries_of() == []
    pass_deadlines(stores, clock() + SECOND)
    assert events(deliveries_of) == [("", EventType.GROUP_FINISHED), ("", EventType.JOB_OVERDUE)]


def test_the_deadline_ends_what_runs_and_ends_polling(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of, now
) -> None:
    ended, running = standin.jobs(2, duration_s=3600)
    made = make_request_registration(ended["request_id"], deadline_at=now + 10 * SECOND)
    poll_rounds(3)
    standin.end(ended)
    poll_rounds(3)
    pass_deadlines(stores, now + 10 * SECOND)
    assert events(deliveries_of) == sorted(
        [(ended["job_id"], EventType.JOB_SUCCEEDED), (running["job_id"], EventType.JOB_OVERDUE)]
    )
    poll_rounds(60)
    assert not stores.redis.exists(keys.request("default", made.request_id))


def test_who_cancels_is_notified_of_nothing_and_nothing_is_asked_for_it(
    stores: Stores, make_request_registration, poll_rounds, standin: Served, deliveries_of
) -> None:
    job = standin.job(duration_s=3600)
    made = make_request_registration(job["request_id"])
    poll_rounds(3)
    stores.registrations.cancel("t", made.id)
    standin.end(job)
    poll_rounds(40)
    assert deliveries_of() == []
    assert stores.redis.keys("cph:request:*") == stores.redis.keys("cph:watch:*") == []


def test_jobs_of_a_submission_cost_one_call_from_the_start(
    stores: Stores, registration, poll_rounds, standin: Served, new_calls
) -> None:
    jobs = standin.jobs(100, duration_s=3600)
    made = registration(*(job["job_id"] for job in jobs), request_id=jobs[0]["request_id"])
    stores.registrations.add(made)
    poll_rounds(1)
    assert new_calls() == (0, 2)  # a full page may not be the last
    assert set(job_states(stores, made).values()) == {JobState.RUNNING}


def test_what_a_submission_refused_is_reported_at_once(
    stores: Stores, registration, deliveries_of, clock, request_id: str
) -> None:
    refused = Job(None, JobState.FAILED, phone_id="phone-1", error_code="CPS.0004", request_id=request_id)
    stores.registrations.add(registration("a", request_id=request_id, ended=(refused,)))
    assert events(deliveries_of) == [("", EventType.JOB_FAILED)]
    (begun,) = stores.deliveries.begin(claim_due(stores.deliveries_due, clock(), 10), clock() + SECOND)
    assert stores.deliveries.decrypt(begun)[1].about == refused


def test_the_end_that_a_caller_brings_is_reported_to_nobody_else(
    stores: Stores, registration, make_watched_job, standin: Served, deliveries_of, poll_rounds
) -> None:
    job_id = standin.job(duration_s=3600)["job_id"]
    other = make_watched_job(job_id)
    brought = registration("b", ended=(Job(job_id, JobState.SUCCEEDED, status=2),))
    stores.registrations.add(brought)
    poll_rounds(2)
    assert other.state is JobState.RUNNING
    assert [delivery.registration_id for delivery in deliveries_of()] == [brought.id]


def test_a_job_of_a_submission_that_its_request_shows_late_is_asked_for_by_its_request_in_the_end(
    stores: Stores, registration, poll_rounds, standin: Served, new_calls, request_id: str
) -> None:
    ids = [uuid4().hex for _ in range(3)]
    stores.registrations.add(registration(*ids, request_id=request_id))
    poll_rounds(3)
    scripts = [{"job_id": id, "request_id": request_id, "duration_s": 3600} for id in ids]
    standin.order("/_standin/jobs", scripts)
    poll_rounds(3)
    new_calls()
    poll_rounds(10)
    assert new_calls()[0] == 0


def test_a_job_that_the_request_of_a_submission_does_not_show_is_asked_for_by_itself(
    stores: Stores, registration, poll_rounds, standin: Served, new_calls, deliveries_of, request_id: str
) -> None:
    job = standin.job(duration_s=3600)
    stores.registrations.add(registration(job["job_id"], request_id=request_id))
    poll_rounds(5)
    assert stores.redis.exists(keys.request("default", request_id)) == 0
    standin.end(job)
    poll_rounds(5)
    assert events(deliveries_of) == [(job["job_id"], EventType.JOB_SUCCEEDED)]


def test_a_job_that_its_request_has_shown_has_the_whole_grace_time_when_it_goes_missing(
    stores: Stores, registration, poll_rounds, standin: Served, deliveries_of, request_id: str
) -> None:
    script = {"job_id": uuid4().hex, "request_id": request_id, "duration_s": 3600}
    stores.registrations.add(registration(script["job_id"], request_id=request_id))
    poll_rounds(5)  # unknown to its request, so it is polled by its id as well
    standin.order("/_standin/faults", {"kind": "error_500", "api": "show_job", "times": None})
    standin.order("/_standin/jobs", script)
    poll_rounds(20)
    standin.call("DELETE", "/_standin/faults")
    standin.order("/_standin/jobs", script | {"visible_after_s": 3600})
    poll_rounds(8)
    assert deliveries_of() == []
    standin.order("/_standin/jobs", script | {"duration_s": 0})
    poll_rounds(10)
    assert events(deliveries_of) == [(script["job_id"], EventType.JOB_SUCCEEDED)]


def test_a_job_of_a_submission_that_nothing_shows_is_lost(
    stores: Stores, registration, poll_rounds, deliveries_of, request_id: str
) -> None:
    stores.registrations.add(registration("e" * 32, request_id=request_id))
    poll_rounds(20)
    assert events(deliveries_of) == [("e" * 32, EventType.JOB_LOST)]
    assert stores.redis.keys("cph:request:*") == []


def test_a_wrong_word_about_a_request_does_not_take_a_job_from_the_right_one(
    stores: Stores, registration, make_watched_job, poll_rounds, standin: Served, new_calls, request_id: str
) -> None:
    ids = [job["job_id"] for job in standin.jobs(2, duration_s=3600)]
    jobs = [make_watched_job(id) for id in ids]
    poll_rounds(3)
    stores.registrations.add(registration(*ids, request_id=request_id))
    poll_rounds(3)
    new_calls()
    poll_rounds(5)
    show_job, list_jobs = new_calls()
    assert show_job == 0
    assert 0 < list_jobs <= 5
    assert {job.state for job in jobs} == {JobState.RUNNING}
