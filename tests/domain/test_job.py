"""Jobs and their stored records."""

from datetime import UTC, datetime

import pytest

from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.domain.times import parse_rfc3339


def test_a_job_comes_back_from_its_record() -> None:
    job = Job("j", JobState.FAILED, status=-1, error_code="CPS.0005", error_msg="no")
    assert Job.from_dict(job.as_dict()) == job


def test_a_record_of_a_newer_version_is_read_without_what_is_new() -> None:
    assert Job.from_dict({"job_id": "j", "state": "lost", "colour": "red"}) == Job("j", JobState.LOST)


@pytest.mark.parametrize(
    "unresolved",
    [
        Unresolved(UnresolvedReason.NEVER_SEEN),
        Unresolved(UnresolvedReason.CPH_REFUSED, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "APIGW.0802"),
    ],
)
def test_why_a_job_is_unresolved_comes_back_from_its_record(unresolved: Unresolved) -> None:
    job = Job("j", JobState.OVERDUE, unresolved=unresolved)
    assert Job.from_dict(job.as_stored()) == job


def test_subscribers_see_the_time_of_the_last_answer_as_text() -> None:
    unresolved = Unresolved(UnresolvedReason.UNREADABLE, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "HTTP 200")
    assert unresolved.as_dict() == {
        "reason": "unreadable",
        "last_answer_at": "2026-01-02T03:04:05Z",
        "last_error": "HTTP 200",
    }
    assert Unresolved(UnresolvedReason.NEVER_SEEN).as_dict()["last_answer_at"] is None


def test_a_reason_of_a_newer_version_is_left_out() -> None:
    stored = {"job_id": "j", "state": "overdue", "unresolved": {"reason": "eclipse"}}
    assert Job.from_dict(stored) == Job("j", JobState.OVERDUE)


def test_only_the_last_four_states_are_ends() -> None:
    assert [state.value for state in JobState if state.ended] == ["succeeded", "failed", "lost", "overdue"]


def test_a_time_that_is_none_is_no_error() -> None:
    assert parse_rfc3339(None) is None
    assert parse_rfc3339("yesterday") is None


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_rfc3339("2019-04-26T07:00:00") == parse_rfc3339("2019-04-26T07:00:00Z")
