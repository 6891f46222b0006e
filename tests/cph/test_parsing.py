"""Parsing a job from an answer of CPH."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cph.parsing import STATES, UnexpectedAnswer, read_job
from app.domain.job import Job, JobState

JOB_ID = "6837531fd3f54550927b930180a706bf"
ANSWER = {"job_id": JOB_ID, "status": 2}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)


def test_the_published_example_reads_as_a_job_that_succeeded():
    payload = json.loads("""{
        "error_msg" : null,
        "execute_msg" : null,
        "job_id" : "6837531fd3f54550927b930180a706bf",
        "phone_id" : "9b28fbe50ded4060b8149a47e55dba82",
        "end_time" : "2019-04-26T07:00:06Z",
        "begin_time" : "2019-04-26T07:00:00Z",
        "error_code" : null,
        "request_id" : "2676a3b4f7df49c297c6775989806d32",
        "status" : 2
    }""")

    assert read_job(payload, JOB_ID) == Job(
        job_id=JOB_ID,
        state=JobState.SUCCEEDED,
        status=2,
        request_id="2676a3b4f7df49c297c6775989806d32",
        phone_id="9b28fbe50ded4060b8149a47e55dba82",
        begin_time="2019-04-26T07:00:00Z",
        end_time="2019-04-26T07:00:06Z",
    )


@pytest.mark.parametrize(("status", "state"), [(1, JobState.RUNNING), (2, JobState.SUCCEEDED), (-1, JobState.FAILED)])
def test_a_documented_status_has_its_state(status, state):
    job = read_job(ANSWER | {"status": status}, JOB_ID)

    assert (job.state, job.status) == (state, status)
    assert job.status in STATES


@pytest.mark.parametrize("status", [0, 3, -2, 200, 10**30])
def test_a_status_nobody_has_seen_is_still_running_and_its_number_is_kept(status):
    job = read_job(ANSWER | {"status": status}, JOB_ID)

    assert (job.state, job.status) == (JobState.RUNNING, status)
    assert job.status not in STATES


@pytest.mark.parametrize("status", ["SUCCESS", "2 of 3", None, True, 2.5, [2], {"status": 2}])
def test_a_status_that_is_no_number_is_still_running(status):
    job = read_job(ANSWER | {"status": status}, JOB_ID)

    assert (job.state, job.status) == (JobState.RUNNING, None)
    assert job.status not in STATES


@pytest.mark.parametrize("status", [2, "2", " 2 ", 2.0, "2.0"])
def test_every_spelling_of_a_status_is_the_status(status):
    assert read_job(ANSWER | {"status": status}, JOB_ID).state is JobState.SUCCEEDED


def test_a_missing_status_is_still_running():
    assert read_job({"job_id": JOB_ID}, JOB_ID).state is JobState.RUNNING


def test_a_failed_job_keeps_what_cph_says_of_the_failure():
    failed = ANSWER | {"status": -1, "error_code": "CPS0005", "error_msg": "Phone is busy.", "execute_msg": "exit 1"}

    job = read_job(failed, JOB_ID)

    assert (job.error_code, job.error_msg, job.execute_msg) == ("CPS0005", "Phone is busy.", "exit 1")


@pytest.mark.parametrize("empty", [{}, {"error_code": None}, {"error_code": ""}])
def test_null_the_empty_text_and_absence_are_one(empty):
    assert read_job(ANSWER | empty, JOB_ID).error_code is None


@pytest.mark.parametrize("value", [5, True, ["x"], {"a": 1}])
def test_a_field_for_show_of_a_wrong_type_does_not_hold_back_the_end_of_a_job(value):
    job = read_job(ANSWER | {"error_msg": value, "phone_id": value}, JOB_ID)

    assert (job.state, job.error_msg, job.phone_id) == (JobState.SUCCEEDED, None, None)


@pytest.mark.parametrize(
    "names",
    [
        {"server_id": "s1", "encode_server_id": "s2", "node_id": "s3"},
        {"server_id": None, "encode_server_id": "s1", "node_id": "s3"},
        {"server_id": "", "node_id": "s1"},
    ],
)
def test_a_server_is_found_under_its_older_names(names):
    assert read_job(ANSWER | names, JOB_ID).server_id == "s1"


def test_unknown_fields_are_ignored():
    assert read_job(ANSWER | {"progress": 80}, JOB_ID) == read_job(ANSWER, JOB_ID)


def test_an_execute_msg_is_cut_between_characters():
    job = read_job(ANSWER | {"execute_msg": "x" + "é" * 600}, JOB_ID)

    assert job.execute_msg == "x" + "é" * 511


def test_half_a_surrogate_pair_does_not_travel_on():
    payload = json.loads('{"job_id": "j", "status": 2, "error_msg": "\\ud83d!"}')

    assert read_job(payload, "j").error_msg == "?!"


@pytest.mark.parametrize("job_id", ["another", JOB_ID + "0", JOB_ID[:-1]])
def test_a_job_that_was_not_asked_for_is_unexpected(job_id):
    with pytest.raises(UnexpectedAnswer, match="another job"):
        read_job(ANSWER | {"job_id": job_id}, JOB_ID)


@pytest.mark.parametrize("job_id", ["", " ", None, 5, [JOB_ID], "\ufffd"])
def test_an_answer_without_a_readable_id_is_unexpected(job_id):
    with pytest.raises(UnexpectedAnswer, match="missing or cannot be read"):
        read_job(ANSWER | {"job_id": job_id}, JOB_ID)


@pytest.mark.parametrize("job_id", [JOB_ID.upper(), f" {JOB_ID}\n"])
def test_letter_case_and_spaces_make_no_other_job(job_id):
    assert read_job(ANSWER | {"job_id": job_id}, JOB_ID).job_id == JOB_ID


@pytest.mark.parametrize("name", ["error_msg", "execute_msg", "phone_id", "begin_time", "end_time", "error_code"])
def test_no_text_is_kept_at_any_length(name):
    job = read_job(ANSWER | {name: "x" * 50_000}, JOB_ID)

    assert len(getattr(job, name)) == (1024 if name.endswith("_msg") else 128)


@pytest.mark.parametrize("request_id", ["a,b", "a b", "x" * 200, "\ufffd", "a&limit=1"])
def test_a_request_that_no_call_can_name_is_none(request_id):
    assert read_job(ANSWER | {"request_id": request_id}, JOB_ID).request_id is None


@pytest.mark.parametrize("payload", [None, [], [ANSWER], "job", 1, True])
def test_what_is_no_object_is_unexpected(payload):
    with pytest.raises(UnexpectedAnswer, match="not a JSON object"):
        read_job(payload, JOB_ID)


@settings(max_examples=300, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(list(Job.__slots__)), VALUES, max_size=5))
def test_any_fields_of_the_right_job_read_as_a_job_that_can_be_written_down(payload):
    job = read_job(payload | {"job_id": JOB_ID}, JOB_ID)

    assert Job.from_dict(json.loads(json.dumps(job.as_dict(), ensure_ascii=False).encode())) == job
