"""Parsing CPH's answer to a call that starts jobs, as a caller passes it on."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cph.submission import Submission, read_submission
from app.domain.errors import InvalidField
from app.domain.job import Job, JobState

REQUEST = "6837531fd3f54550927b930180a706bf"
PHONE, OTHER_PHONE = "1234567b8bab40ffb711234cb80d0234", "1678567b8bab40f93711234cb80d0764"
JOB, OTHER_JOB = "1564567b8bab40f34711234cb80d0123", "1564567b8bab40f34711234cb80d5678"
SERVER = "6edb89150bc742aa81fc8ac4ff047297"


def submitted(*items):
    return read_submission({"request_id": REQUEST, "jobs": list(items)})


def refusal(payload) -> InvalidField:
    with pytest.raises(InvalidField) as raised:
        read_submission(payload)
    return raised.value


def test_the_published_example_names_two_jobs_to_watch():
    payload = json.loads("""{
        "request_id" : "6837531fd3f54550927b930180a706bf",
        "jobs" : [ {
            "phone_id" : "1234567b8bab40ffb711234cb80d0234",
            "job_id" : "1564567b8bab40f34711234cb80d0123"
        }, {
            "phone_id" : "1678567b8bab40f93711234cb80d0764",
            "job_id" : "1564567b8bab40f34711234cb80d5678"
        } ]
    }""")

    assert read_submission(payload) == Submission(REQUEST, (JOB, OTHER_JOB), ())


def test_an_answer_about_one_server_names_one_job():
    payload = {"request_id": REQUEST, "server_id": SERVER, "job_id": JOB, "error_code": None, "error_msg": None}

    assert read_submission(payload) == Submission(REQUEST, (JOB,), ())


@pytest.mark.parametrize("code", ["CPS.0004", "CPS0004"])
def test_a_phone_that_was_refused_at_once_is_a_job_that_failed_beside_those_that_run(code):
    refused = {"phone_id": OTHER_PHONE, "error_code": code, "error_msg": "The phone is not running."}
    failed = Job(
        job_id=None,
        state=JobState.FAILED,
        status=None,
        request_id=REQUEST,
        phone_id=OTHER_PHONE,
        error_code=code,
        error_msg="The phone is not running.",
    )

    assert submitted({"phone_id": PHONE, "job_id": JOB}, refused) == Submission(REQUEST, (JOB,), (failed,))


@pytest.mark.parametrize("name", ["server_id", "encode_server_id"])
def test_a_server_that_was_refused_at_once_is_named_by_either_of_its_names(name):
    [failed] = submitted({name: SERVER, "error_code": "CPS.0004"}).ended

    assert (failed.state, failed.server_id, failed.phone_id) == (JobState.FAILED, SERVER, None)


def test_each_phone_that_was_refused_is_a_job_of_its_own():
    refused = [{"phone_id": phone, "error_code": "CPS.0004"} for phone in (PHONE, OTHER_PHONE)]

    assert [job.phone_id for job in submitted(*refused).ended] == [PHONE, OTHER_PHONE]


def test_a_job_that_cph_took_is_watched_although_it_has_an_error_code():
    item = {"phone_id": PHONE, "job_id": JOB, "error_code": "CPS.0005", "error_msg": "Phone is busy."}

    assert submitted(item) == Submission(REQUEST, (JOB,), ())
    assert read_submission({"request_id": REQUEST} | item) == Submission(REQUEST, (JOB,), ())


@pytest.mark.parametrize(("status", "state"), [(2, JobState.SUCCEEDED), (-1, JobState.FAILED)])
@pytest.mark.parametrize("job_id", [JOB, None])
def test_the_result_of_a_synchronous_command_is_an_end(status, state, job_id):
    item = {"phone_id": PHONE, "job_id": job_id, "status": status, "error_code": None, "execute_msg": "total 0\n"}
    job = Job(job_id, state, status, request_id=REQUEST, phone_id=PHONE, execute_msg="total 0\n")

    assert submitted(item) == Submission(REQUEST, (), (job,))


@pytest.mark.parametrize("status", [1, 0, 3, 200, "1", True, None])
def test_a_synchronous_command_that_has_not_ended_is_watched(status):
    assert submitted({"phone_id": PHONE, "job_id": JOB, "status": status}) == Submission(REQUEST, (JOB,), ())


@pytest.mark.parametrize(("status", "read_status"), [(1, 1), (3, 3), ("two", None)])
def test_a_phone_that_was_refused_has_failed_whatever_status_it_is_given_that_is_no_end(status, read_status):
    [failed] = submitted({"phone_id": PHONE, "error_code": "CPS.0004", "status": status}).ended

    assert (failed.state, failed.status) == (JobState.FAILED, read_status)


def test_a_long_execute_msg_is_cut_as_it_is_when_cph_is_asked():
    [job] = submitted({"phone_id": PHONE, "status": 2, "execute_msg": "x" * 5000}).ended

    assert job.execute_msg == "x" * 1024


def test_a_job_that_is_named_twice_is_one():
    assert submitted({"job_id": JOB}, {"job_id": OTHER_JOB}, {"job_id": JOB}).job_ids == (JOB, OTHER_JOB)
    assert len(submitted({"job_id": JOB, "status": 2}, {"job_id": JOB, "status": 2}).ended) == 1


def test_a_job_whose_end_is_reported_is_not_watched_although_it_is_also_named_without():
    read = submitted({"job_id": JOB}, {"job_id": JOB, "status": 2})

    assert (read.job_ids, [job.job_id for job in read.ended]) == ((), [JOB])


@pytest.mark.parametrize("empty", [{}, {"error_code": None, "status": None}, {"error_code": "", "error_msg": ""}])
def test_null_the_empty_text_and_absence_are_one(empty):
    assert submitted({"phone_id": PHONE, "job_id": JOB} | empty) == Submission(REQUEST, (JOB,), ())


@pytest.mark.parametrize("empty", [{}, {"jobs": None}, {"jobs": ""}, {"jobs": []}])
def test_an_empty_list_does_not_hide_the_job_that_the_answer_itself_names(empty):
    assert read_submission({"job_id": JOB} | empty).job_ids == (JOB,)


def test_a_job_beside_a_list_of_jobs_is_watched_too():
    assert read_submission({"job_id": JOB, "jobs": [{"job_id": OTHER_JOB}]}).job_ids == (OTHER_JOB, JOB)


@pytest.mark.parametrize("empty", [{}, {"request_id": None}, {"request_id": ""}])
def test_an_answer_may_name_no_request(empty):
    read = read_submission(empty | {"jobs": [{"job_id": JOB}, {"phone_id": PHONE, "error_code": "CPS.0004"}]})

    assert (read.request_id, read.ended[0].request_id) == (None, None)


def test_unknown_fields_are_ignored():
    plain = {"request_id": REQUEST, "jobs": [{"job_id": JOB}]}
    more = {"request_id": REQUEST, "count": 1, "jobs": [{"job_id": JOB, "progress": [80]}], "order_id": "CS1"}

    assert read_submission(more) == read_submission(plain)


@pytest.mark.parametrize("job_id", ["a", "0e3b1c9a-5d8f-4c1e-9a77-2b64d1f0c3e5", "_" * 128])
def test_a_job_id_may_be_short_or_long(job_id):
    assert submitted({"job_id": job_id}).job_ids == (job_id,)


@pytest.mark.parametrize("job_id", ["a b", "x" * 129, "j\n", "ä", "٣", "\ud83d", 5, True, ["a"], {"a": 1}])
def test_a_job_id_that_is_none_is_refused_where_it_stands_and_never_repeated(job_id):
    items = [{"job_id": "j0"}, {"job_id": "j1"}, {"job_id": "j2"}, {"job_id": job_id}]

    for payload, pointer in [
        ({"jobs": items}, "/submission/jobs/3/job_id"),
        ({"job_id": job_id}, "/submission/job_id"),
        ({"request_id": job_id, "jobs": items}, "/submission/request_id"),
    ]:
        error = refusal(payload)
        assert (error.pointer, error.detail) == (pointer, "must be 1 to 128 letters, digits, _ or -")


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"phone_id": PHONE},
        {"phone_id": PHONE, "job_id": "", "error_code": "", "error_msg": ""},
        {"phone_id": PHONE, "status": 1},
        {"phone_id": PHONE, "status": "1"},
        {"phone_id": PHONE, "error_msg": "Some words."},
        {"phone_id": PHONE, "error_code": 5},
    ],
)
def test_an_item_that_reports_neither_a_job_nor_an_error_nor_an_end_is_refused(item):
    assert refusal({"request_id": REQUEST, "jobs": [{"job_id": JOB}, item]}).pointer == "/submission/jobs/1"


@pytest.mark.parametrize("item", [None, JOB, 5, [JOB]])
def test_an_item_that_is_no_object_is_refused(item):
    error = refusal({"request_id": REQUEST, "jobs": [{"job_id": JOB}, item]})

    assert (error.pointer, error.detail) == ("/submission/jobs/1", "must be an object")


@pytest.mark.parametrize("jobs", [JOB, 5, True])
def test_jobs_that_are_no_list_are_refused(jobs):
    error = refusal({"request_id": REQUEST, "jobs": jobs})

    assert (error.pointer, error.detail) == ("/submission/jobs", "must be a list")


@pytest.mark.parametrize("payload", [{}, {"jobs": []}, {"jobs": None}, {"job_id": ""}, {"count": 0, "jobs": []}])
def test_an_answer_without_jobs_is_not_taken_for_success(payload):
    error = refusal({"request_id": REQUEST} | payload)

    assert (error.pointer, error.detail) == ("/submission/jobs", "names no job: there is nothing to watch")


def test_a_thousand_jobs_are_read_and_one_more_is_refused_with_the_way_out():
    items = [{"job_id": f"j{n}"} for n in range(1001)]

    assert len(submitted(*items[:1000]).job_ids) == 1000
    error = refusal({"request_id": REQUEST, "jobs": items})
    assert error.pointer == "/submission/jobs"
    assert error.hint.startswith("register several times, each with the request_id and up to 1,000 other items")


@pytest.mark.parametrize("empty", [{}, {"jobs": []}, {"job_id": None, "error_code": "", "error_msg": ""}])
def test_an_order_is_refused_with_the_reason(empty):
    order = {"request_id": REQUEST, "order_id": "CS2007271727F9XJE", "product_id": "OFFI451249149551403012"}

    error = refusal(order | empty)

    assert error.pointer == "/submission/order_id"
    assert error.detail == "an order starts no job that CPH names: there is nothing to watch"
    assert "what can be watched are calls whose answer has `job_id` or `jobs`" in error.hint


@pytest.mark.parametrize("order", [{"product_id": "OFFI1"}, {"server_ids": [SERVER]}])
def test_an_order_without_its_id_is_told_as_an_order(order):
    assert "an order starts no job" in refusal({"request_id": REQUEST} | order).detail


@pytest.mark.parametrize(
    ("migrated", "shown"),
    [
        ({"source_phone_id": PHONE, "target_phone_id": OTHER_PHONE}, PHONE),
        ({"target_phone_id": OTHER_PHONE}, OTHER_PHONE),
        ({"source_phone_id": PHONE, "phone_id": OTHER_PHONE}, OTHER_PHONE),
    ],
)
def test_a_migration_that_was_refused_at_once_shows_its_phone(migrated, shown):
    [failed] = submitted(migrated | {"error_code": "CPS.0004"}).ended

    assert failed.phone_id == shown


def test_one_job_in_place_of_a_list_is_read():
    assert read_submission({"request_id": REQUEST, "jobs": {"job_id": JOB}}) == Submission(REQUEST, (JOB,), ())


@pytest.mark.parametrize("code", ["CPS.0001", "CPS0001", "APIGW.0301", "IAM.0012"])
@pytest.mark.parametrize("more", [{}, {"jobs": []}, {"order_id": "CS1"}])
def test_a_call_that_cph_refused_is_reported_by_its_code(code, more):
    error = refusal({"request_id": REQUEST, "error_code": code, "error_msg": "No permission."} | more)

    assert error.pointer == "/submission/error_code"
    assert error.detail == f"CPH refused the call itself ({code}): it started no job"


@pytest.mark.parametrize("code", ["x" * 41, "CPS.0001 gAAAAABk", "secret", "CPS." + "0" * 9, "CPS.0001\n"])
def test_a_code_that_looks_like_none_is_not_repeated(code):
    assert refusal({"error_code": code}).detail == "CPH refused the call itself: it started no job"


@pytest.mark.parametrize(
    ("body", "quoted_code"),
    [
        ({"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}, ""),
        ({"error_code": "IAM.0012", "error_msg": "Too many requests."}, " (IAM.0012)"),
        ({"code": "IAM.0012", "message": "Too many requests."}, " (IAM.0012)"),
        ({}, ""),
    ],
)
def test_a_refusal_in_the_shape_of_iam_is_reported(body, quoted_code):
    error = refusal({"error": body})

    assert error.pointer == "/submission/error"
    assert error.detail == f"CPH refused the call itself{quoted_code}: it started no job"


NAMES = [
    "request_id", "jobs", "job_id", "status", "error_code", "error_msg", "execute_msg", "phone_id", "server_id",
    "order_id", "error", "code", "count",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
LIKELY = st.sampled_from([JOB, OTHER_JOB, "", "CPS.0004", 1, 2, -1, None])
FIELDS = st.sampled_from(NAMES) | st.text(max_size=3)
ITEMS = st.dictionaries(FIELDS, LIKELY | SCALARS, max_size=5)
VALUES = LIKELY | SCALARS | ITEMS | st.lists(ITEMS | SCALARS, max_size=4)
ANSWERS = st.dictionaries(FIELDS, VALUES, max_size=6) | st.fixed_dictionaries({"jobs": st.lists(ITEMS, max_size=4)})


@settings(max_examples=500, deadline=None, database=None)
@given(ANSWERS)
def test_any_object_is_at_least_one_job_or_a_field_that_is_wrong(payload):
    try:
        read = read_submission(payload)
    except InvalidField as error:
        assert error.pointer.startswith("/submission")  # noqa: PT017  # most objects are refused, not all
        return
    assert read.job_ids or read.ended
    assert all(job.state.ended for job in read.ended)
    job_ids = [*read.job_ids, *(job.job_id for job in read.ended if job.job_id)]
    assert len(set(job_ids)) == len(job_ids)


SUBMITTED = st.lists(
    st.fixed_dictionaries({"job_id": st.sampled_from([JOB, OTHER_JOB]), "error_code": LIKELY})
    | st.fixed_dictionaries({"phone_id": st.sampled_from([PHONE, OTHER_PHONE]), "error_code": st.just("CPS.0004")})
    | st.fixed_dictionaries({"job_id": st.sampled_from([JOB, None]), "status": st.sampled_from([2, -1])}),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None, database=None)
@given(SUBMITTED)
def test_no_item_of_an_answer_is_lost(items):
    read = submitted(*items)

    assert {*read.job_ids, *(job.job_id for job in read.ended)} == {item.get("job_id") for item in items}
    without_id = [item for item in items if not item.get("job_id")]
    assert len([job for job in read.ended if job.job_id is None]) == len(without_id)
    assert {job.request_id for job in read.ended} <= {REQUEST}
