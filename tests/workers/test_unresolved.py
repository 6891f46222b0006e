"""Why a job was lost or is overdue, from the polls to the callback."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.event import Event, Group
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.domain.registration import Notify
from app.formats import standard
from app.store.engine import keys
from app.store.events import BEGINNING
from tests.support.scripted_cloud import Answer, CloudHandler, says

SECOND = timedelta(seconds=1)
JOB = "a" * 32
RUNNING = says(200, {"job_id": JOB, "status": 1})
UNKNOWN = says(404, {"error_code": "CPS.0011", "error_msg": "The job does not exist."})
BUSY = says(500, {"error_code": "CPS.0042", "error_msg": "busy"})
THROTTLED = says(429, {"error_code": "APIGW.0308", "error_msg": "too many"})
FORBIDDEN = says(403, {"error_code": "APIGW.0802", "error_msg": "no"})


def hang_up(handler: CloudHandler) -> None:
    """Closes the connection without an answer."""
    handler.close_connection = True


FAULTS = {
    "an error of a server": (says(502, b"<html>bad gateway"), UnresolvedReason.CPH_UNREACHABLE, "HTTP 502"),
    "no answer": (hang_up, UnresolvedReason.CPH_UNREACHABLE, None),
    "busy": (BUSY, UnresolvedReason.CPH_UNREACHABLE, "CPS.0042"),
    "too many calls": (THROTTLED, UnresolvedReason.CPH_THROTTLED, "APIGW.0308"),
    "forbidden": (FORBIDDEN, UnresolvedReason.CPH_REFUSED, "APIGW.0802"),
    "a firewall": (says(403, b"<html>no"), UnresolvedReason.CPH_REFUSED, "HTTP 403"),
    "no JSON": (says(200, b"<html>log in"), UnresolvedReason.UNREADABLE, "HTTP 200"),
    "another job": (says(200, {"job_id": "b" * 32, "status": 2}), UnresolvedReason.UNREADABLE, "HTTP 200"),
}


@pytest.fixture
def lost_grace() -> timedelta:
    return timedelta(days=1)


@pytest.fixture
def events(stores: Stores, poll_rounds, clock) -> Callable[[float], list[Event]]:
    """Lets so many seconds pass; returns the events since the start."""

    def read(seconds: float) -> list[Event]:
        for _ in range(round(seconds)):
            poll_rounds(1)
            stores.deadlines.end_overdue(clock.now, 100)
        return [entry.event for entry in stores.events.read_after("t", BEGINNING, 100)[0]]

    return read


def end_of(events: list[Event]) -> Job:
    (event,) = events
    assert isinstance(event.about, Job)
    return event.about


def lists(*jobs: dict) -> Answer:
    """Answers ListJobs with these jobs, and ShowJob that there is none."""
    listed = says(200, {"jobs": list(jobs)})
    return lambda handler: (listed if "request_ids=" in handler.path else UNKNOWN)(handler)


def test_a_job_that_runs_on_is_overdue_as_still_running(cloud, make_watched_job, events, now, clock) -> None:
    make_watched_job(JOB, deadline_at=now + 30 * SECOND)
    cloud.cph = RUNNING
    job = end_of(events(60))
    assert job.state is JobState.OVERDUE
    assert job.unresolved
    assert job.unresolved.reason is UnresolvedReason.STILL_RUNNING
    assert job.unresolved.last_error is None
    # It was polled once more at its deadline.
    assert now + 29 * SECOND <= job.unresolved.last_answer_at <= now + 31 * SECOND


@pytest.mark.parametrize(("answer", "reason", "code"), FAULTS.values(), ids=FAULTS)
def test_a_job_of_which_cph_gave_no_answer_until_its_deadline_says_what_it_gave(
    cloud, make_watched_job, events, now, answer, reason, code
) -> None:
    make_watched_job(JOB, deadline_at=now + 40 * SECOND)
    cloud.cph = RUNNING
    events(3)
    cloud.cph = answer
    job = end_of(events(100))
    assert (job.state, job.unresolved.reason, job.unresolved.last_error) == (JobState.OVERDUE, reason, code)
    assert now <= job.unresolved.last_answer_at <= now + 3 * SECOND


def test_what_failed_before_the_last_answer_is_not_told(cloud, make_watched_job, events, now) -> None:
    make_watched_job(JOB, deadline_at=now + 30 * SECOND)
    cloud.cph = says(502, b"")
    events(5)
    cloud.cph = RUNNING
    job = end_of(events(60))
    assert (job.unresolved.reason, job.unresolved.last_error) == (UnresolvedReason.STILL_RUNNING, None)


def test_a_job_that_waited_for_a_refused_project_says_so_although_others_were_tried(
    cloud, make_watched_job, events, now
) -> None:
    cloud.cph = FORBIDDEN
    for job in (JOB, "b" * 32, "c" * 32):
        make_watched_job(job, deadline_at=now + 30 * SECOND)
    events(5)
    make_watched_job("d" * 32, deadline_at=now + 30 * SECOND)
    ends = [event.about for event in events(90)]
    assert len(ends) == 4
    assert {job.unresolved for job in ends} == {Unresolved(UnresolvedReason.CPH_REFUSED, None, "APIGW.0802")}


def test_a_job_that_waits_for_the_rate_limit_says_so(
    cloud, make_watched_job, events, stores: Stores, now, clock
) -> None:
    cloud.cph = RUNNING
    make_watched_job(JOB, deadline_at=now + 30 * SECOND)
    stores.scripts.run(stores.polls_due.pause("default", now + timedelta(hours=1)))
    job = end_of(events(60))
    assert job.unresolved == Unresolved(UnresolvedReason.CPH_THROTTLED)


@pytest.mark.parametrize(
    ("first", "reason"),
    [(UNKNOWN, UnresolvedReason.NEVER_SEEN), (RUNNING, UnresolvedReason.NOT_LISTED)],
    ids=["never", "not any more"],
)
def test_a_job_that_cph_does_not_know_at_its_deadline_says_whether_it_ever_did(
    cloud, make_watched_job, events, now, first, reason
) -> None:
    make_watched_job(JOB, deadline_at=now + 60 * SECOND)
    cloud.cph = first
    events(3)
    cloud.cph = UNKNOWN
    job = end_of(events(90))
    assert (job.state, job.unresolved.reason) == (JobState.OVERDUE, reason)
    assert job.unresolved.last_answer_at >= now + 3 * SECOND


@pytest.mark.parametrize("lost_grace", [10 * SECOND])
@pytest.mark.parametrize(
    ("first", "reason"),
    [(UNKNOWN, UnresolvedReason.NEVER_SEEN), (RUNNING, UnresolvedReason.NOT_LISTED)],
    ids=["never", "not any more"],
)
def test_a_lost_job_says_whether_cph_ever_knew_it(cloud, make_watched_job, events, clock, first, reason) -> None:
    make_watched_job(JOB)
    cloud.cph = first
    events(3)
    cloud.cph = UNKNOWN
    job = end_of(events(90))
    assert (job.state, job.unresolved.reason) == (JobState.LOST, reason)
    assert job.unresolved.last_answer_at


def test_a_job_that_only_lists_show_is_still_running_by_the_last_list(
    cloud, make_request_registration, events, now, request_id
) -> None:
    make_request_registration(request_id, deadline_at=now + 30 * SECOND)
    cloud.cph = lists({"job_id": JOB, "status": 1})
    job = end_of(events(60))
    assert job.job_id == JOB
    assert job.unresolved.reason is UnresolvedReason.STILL_RUNNING
    assert job.unresolved.last_answer_at >= now + 29 * SECOND


def test_a_listed_job_says_why_the_last_lists_failed(cloud, make_request_registration, events, now, request_id) -> None:
    make_request_registration(request_id, deadline_at=now + 30 * SECOND)
    cloud.cph = lists({"job_id": JOB, "status": 1})
    events(3)
    cloud.cph = says(504, b"")
    job = end_of(events(60))
    assert (job.unresolved.reason, job.unresolved.last_error) == (UnresolvedReason.CPH_UNREACHABLE, "HTTP 504")
    assert job.unresolved.last_answer_at <= now + 3 * SECOND


REQUESTS = {
    "an empty list": (lists(), UnresolvedReason.NOT_LISTED, None),
    "an unknown request": (says(400, {"error_code": "CPS.0050"}), UnresolvedReason.NEVER_SEEN, None),
    "a server's error": (says(502, b""), UnresolvedReason.CPH_UNREACHABLE, "HTTP 502"),
    "forbidden": (FORBIDDEN, UnresolvedReason.CPH_REFUSED, "APIGW.0802"),
    "too many calls": (THROTTLED, UnresolvedReason.CPH_THROTTLED, "APIGW.0308"),
    "no JSON": (says(200, b"<html>"), UnresolvedReason.UNREADABLE, "HTTP 200"),
}


@pytest.mark.parametrize(("answer", "reason", "code"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_of_which_no_job_was_listed_until_its_deadline_says_why(
    cloud, make_request_registration, events, now, request_id, answer, reason, code
) -> None:
    make_request_registration(request_id, deadline_at=now + 8 * SECOND)
    cloud.cph = answer
    job = end_of(events(60))
    assert (job.state, job.job_id, job.request_id) == (JobState.OVERDUE, None, request_id)
    assert (job.unresolved.reason, job.unresolved.last_error) == (reason, code)


def test_a_request_that_may_not_be_listed_says_so_though_jobs_may_be_shown(
    cloud, make_request_registration, events, now, request_id
) -> None:
    make_request_registration(request_id, deadline_at=now + 8 * SECOND)
    no_right = says(403, {"error_code": "CPS.0006", "error_msg": "no"})
    cloud.cph = lambda handler: (no_right if "request_ids=" in handler.path else UNKNOWN)(handler)
    job = end_of(events(60))
    assert job.unresolved == Unresolved(UnresolvedReason.CPH_REFUSED, None, "CPS.0006")


def test_the_jobs_of_a_group_say_it_too(cloud, make_watched_job, events, now) -> None:
    make_watched_job(JOB, deadline_at=now + 30 * SECOND, notify=Notify.ALL)
    cloud.cph = says(502, b"")
    (event,) = events(60)
    assert isinstance(event.about, Group)
    told = standard.data(event)["jobs"][0]
    assert (told["reason"], told["last_answer_at"], told["last_error"]) == ("cph_unreachable", None, "HTTP 502")


def test_a_job_that_was_watched_by_an_earlier_version_has_a_reason(
    cloud, make_watched_job, events, stores: Stores, now
) -> None:
    make_watched_job(JOB, deadline_at=now + 30 * SECOND)
    cloud.cph = RUNNING
    events(3)
    stores.redis.hdel(keys.watch("default", JOB), "answered", "failing")
    stores.scripts.run(stores.polls_due.pause("default", now + timedelta(seconds=1)))
    stores.redis.zrem(keys.due("poll", "default"), JOB)
    job = end_of(events(60))
    assert job.unresolved == Unresolved(UnresolvedReason.STILL_RUNNING)


def test_a_code_that_holds_anything_else_does_not_reach_the_event(cloud, make_watched_job, events, now) -> None:
    make_watched_job(JOB, deadline_at=now + 30 * SECOND)
    cloud.cph = says(500, {"error_code": "https://evil.example/?q=1", "error_msg": "no"})
    assert end_of(events(60)).unresolved.last_error == "HTTP 500"
