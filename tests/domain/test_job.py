"""Jobs and their stored records."""

from app.domain.job import Job, JobState
from app.domain.times import parse_rfc3339


def test_a_job_comes_back_from_its_record() -> None:
    job = Job("j", JobState.FAILED, status=-1, error_code="CPS.0005", error_msg="no")
    assert Job.from_dict(job.as_dict()) == job


def test_a_record_of_a_newer_version_is_read_without_what_is_new() -> None:
    assert Job.from_dict({"job_id": "j", "state": "lost", "colour": "red"}) == Job("j", JobState.LOST)


def test_only_the_last_four_states_are_ends() -> None:
    assert [state.value for state in JobState if state.ended] == ["succeeded", "failed", "lost", "overdue"]


def test_a_time_that_is_none_is_no_error() -> None:
    assert parse_rfc3339(None) is None
    assert parse_rfc3339("yesterday") is None


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_rfc3339("2019-04-26T07:00:00") == parse_rfc3339("2019-04-26T07:00:00Z")
