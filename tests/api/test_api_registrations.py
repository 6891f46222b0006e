"""POST /v1/registrations, and how a registration is shown afterwards."""

import base64
import json
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.signature import secret_bytes
from tests.support.api_client import SMALLEST, ApiCaller, problem

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVERYTHING = {
    "job_id": None,
    "job_ids": ["a", "b", "a"],
    "callback_url": "http://127.0.0.1:9/hooks/s3cret?key=k",
    "project": "default",
    "format": "standard",
    "language": "zh-CN",
    "link": "https://console.example/jobs/{job_id}",
    "events": ["job.lost", "job.failed"],
    "notify": "each",
    "secret": SECRET,
    "headers": {"Authorization": "Bearer canary", "X-Room": "ops"},
    "metadata": {"who": "Zoë 😀", "nothing": None, "nul": "\x00"},
    "deadline_s": 10,
}


def pointers(answer: Any) -> set[str]:
    return {error["pointer"] for error in problem(answer, 422)["errors"]}


def register_body(api: ApiCaller, body: Any) -> Any:
    """Registers with exactly this body. Its field `headers` is the headers of callbacks."""
    answer = api.call("POST", "/v1/registrations", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_the_smallest_body_is_accepted(api: ApiCaller) -> None:
    answer = api.register()
    assert answer.status_code == 201
    shown = answer.json
    assert answer.headers["Location"] == f"/v1/registrations/{shown['id']}"
    assert re.fullmatch(r"reg_[0-9a-z]{26}", shown["id"])
    assert re.fullmatch(r"http://127\.0\.0\.1:9/…[0-9a-f]{4}", shown["callback_url"])
    assert len(secret_bytes(shown["secret"])) == 32
    created, deadline = (datetime.fromisoformat(shown[name]) for name in ("created_at", "deadline_at"))
    assert (deadline - created).total_seconds() == 7_200
    del shown["id"], shown["callback_url"], shown["secret"], shown["created_at"], shown["deadline_at"]
    assert shown == {
        "state": "watching",
        "project": "default",
        "format": "standard",
        "language": "en",
        "link": None,
        "notify": "each",
        "events": ["job.succeeded", "job.failed", "job.lost", "job.overdue", "group.finished"],
        "headers": [],
        "metadata": {},
        "request_id": None,
        "jobs": [{"job_id": SMALLEST["job_id"], "state": "pending"}],
        "deliveries": {"pending": 0, "delivered": 0, "dead": 0},
        "callback_gone": False,
        "callback_verified": None,
        "callback_verdict": None,
    }


def test_every_field_is_accepted_and_jobs_named_twice_are_one(api: ApiCaller) -> None:
    shown = register_body(api, EVERYTHING)
    assert [job["job_id"] for job in shown["jobs"]] == ["a", "b"]
    assert {name: shown[name] for name in ("events", "metadata", "secret")} == {
        name: EVERYTHING[name] for name in ("events", "metadata", "secret")
    }


def test_what_was_answered_is_what_is_shown_later_but_for_the_secret(api: ApiCaller) -> None:
    answered = register_body(api, EVERYTHING)
    del answered["secret"]
    assert api.get(f"/v1/registrations/{answered['id']}") == answered


def test_headers_are_shown_by_their_names_alone(api: ApiCaller) -> None:
    answered = register_body(api, EVERYTHING)
    assert answered["headers"] == ["Authorization", "X-Room"]
    listed = api.call("GET", "/v1/registrations").text
    for text in (json.dumps(answered), listed):
        assert "Bearer" not in text


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"webhook-signature": "canary"}, "/headers/webhook-signature"),
        ({"Host": "canary"}, "/headers/Host"),
        ({"X-Room": "canary\r\nHost: x"}, "/headers/X-Room"),
        ({"X-Room": 7}, "/headers/X-Room"),
        ({"X-Room": "a", "x-room": "canary"}, "/headers/x-room"),
    ],
)
def test_a_wrong_header_is_pointed_at_without_its_value(api: ApiCaller, headers: Any, pointer: str) -> None:
    answer = api.call("POST", "/v1/registrations", json=SMALLEST | {"headers": headers})
    assert pointers(answer) == {pointer}
    assert "canary" not in answer.text


def test_a_thousand_jobs_fit_and_one_more_does_not(api: ApiCaller) -> None:
    jobs = [f"job-{number}" for number in range(1_001)]
    shown = api.registered(job_id=None, job_ids=jobs[:1_000])
    assert len(shown["jobs"]) == 1_000
    assert pointers(api.register(job_id=None, job_ids=jobs)) == {"/job_ids"}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("job_id", ["", "a" * 129, "a b", "a/b", "ä", "a\n", 7, ["a"], {}, True]),
        ("job_ids", [[], "a", {}, 7]),
        ("callback_url", ["", "x", "ftp://bot.example/", "https://u:p@bot.example/", "http://10.0.0.1/", None, 7, []]),
        ("project", ["", "other", 7, []]),
        ("format", ["", "irc", "Slack", "template:none", None, 7]),
        ("notify", ["", "none", None, 7]),
        ("events", [[], ["job.lost", "job.lost"], "job.lost", None, {}]),
        ("secret", ["", "whsec_", "whsec_*", SECRET[:-4], SECRET + "!", "x" + SECRET, 7]),
        ("metadata", [None, [], "x", {"a": "x" * 4_090}, {"a": "😀" * 1_023}]),
        ("deadline_s", [9, 604_801, 10.5, "10", True, None, 10**400]),
        ("request_id", ["x"]),
        ("submission", [{}]),
        ("headers", [None, [], "x", 7, {f"X-{number}": "y" for number in range(21)}, {"X Room": "y"}]),
        ("a/b~c", [1]),
    ],
)
def test_a_wrong_field_is_pointed_at(api: ApiCaller, field: str, values: list[Any]) -> None:
    pointer = "/" + field.replace("~", "~0").replace("/", "~1")
    others = {"job_id": None} if field == "job_ids" else {}
    for value in values:
        answer = api.call("POST", "/v1/registrations", json=SMALLEST | others | {field: value})
        assert pointers(answer) == {pointer}, value


def test_one_wrong_item_of_a_list_is_pointed_at(api: ApiCaller) -> None:
    assert pointers(api.register(job_id=None, job_ids=["a", "b c"])) == {"/job_ids/1"}
    assert pointers(api.register(events=["job.lost", "group.begun"])) == {"/events/1"}


def test_several_wrong_fields_are_all_pointed_at(api: ApiCaller) -> None:
    assert pointers(api.register(deadline_s=0, notify="x", extra=1)) == {"/deadline_s", "/notify", "/extra"}


def test_very_many_wrong_fields_are_not_all_repeated(api: ApiCaller) -> None:
    assert len(pointers(api.register(**{f"field-{number}": 1 for number in range(1_000)}))) == 50


def test_exactly_one_way_to_name_jobs_must_be_given(api: ApiCaller) -> None:
    assert pointers(api.register(job_id=None)) == {"/job_id"}
    assert pointers(api.register(job_ids=["b"])) == {"/job_ids"}
    assert pointers(api.register(request_id="r")) == {"/request_id"}
    assert pointers(api.register(submission={"job_id": "a"})) == {"/submission"}


SUBMISSION = {
    "request_id": "2676a3b4f7df49c297c6775989806d32",
    "jobs": [
        {"phone_id": "phone-1", "job_id": "job-1"},
        {"phone_id": "phone-2", "error_code": "CPS.0004", "error_msg": "The phone is not there."},
    ],
}


def test_a_submission_is_accepted_as_cph_answered_it(api: ApiCaller) -> None:
    shown = api.registered(job_id=None, submission=SUBMISSION)
    refused = {"state": "failed", "phone_id": "phone-2", "server_id": None, "error_code": "CPS.0004"}
    assert shown["jobs"] == [{"job_id": None} | refused, {"job_id": "job-1", "state": "pending"}]
    assert shown["request_id"] == SUBMISSION["request_id"]
    del shown["secret"]
    shown["deliveries"]["pending"] = 1  # the refused job is reported at once
    assert api.get(f"/v1/registrations/{shown['id']}") == shown


def test_a_request_is_accepted_before_anybody_knows_its_jobs(api: ApiCaller) -> None:
    shown = api.registered(job_id=None, request_id="r-1", notify="all")
    assert (shown["request_id"], shown["jobs"], shown["notify"]) == ("r-1", [], "all")
    del shown["secret"]
    assert api.get(f"/v1/registrations/{shown['id']}") == shown
    other = api.registered(job_id=None, request_id="r-2")
    found = api.get("/v1/registrations?request_id=r-1")["items"]
    assert [each["id"] for each in found] == [shown["id"]] != [other["id"]]


def test_a_submission_that_names_no_job_is_refused_with_the_way_out(api: ApiCaller) -> None:
    answer = api.register(job_id=None, submission={"order_id": "CS-1"})
    assert pointers(answer) == {"/submission/order_id"}
    assert "order" in answer.json["hint"]


def test_events_that_are_never_sent_are_refused(api: ApiCaller) -> None:
    assert pointers(api.register(notify="all", events=["job.failed"])) == {"/events"}
    assert pointers(api.register(notify="each", events=["group.finished"])) == {"/events"}
    assert api.registered(notify="both", events=["group.finished"])["events"] == ["group.finished"]


def test_what_was_wrong_is_not_repeated(api: ApiCaller) -> None:
    for field in ("secret", "callback_url", "job_id"):
        assert "canary" not in api.register(**{field: "canary canary"}).text


def test_a_hint_shows_the_way_out(api: ApiCaller) -> None:
    assert problem(api.register(project="other"), 422)["hint"] == "one of: default"


def test_metadata_of_4_kib_fits(api: ApiCaller) -> None:
    metadata = {"a": "x" * (4_096 - len('{"a":""}'))}
    assert api.registered(metadata=metadata)["metadata"] == metadata


def test_without_a_configured_project_the_hint_is_for_the_operator(
    environment: dict[str, str],
) -> None:
    runtime = Runtime(load({**environment, "BRIDGE_CPH_PROJECT_ID": ""}))
    refused = problem(ApiCaller(runtime).register(), 422)
    assert refused["errors"][0]["pointer"] == "/project"
    assert "BRIDGE_CPH_PROJECT_ID" in refused["hint"]
    runtime.stores.redis.close()


@pytest.mark.parametrize("id", ["reg_" + "0" * 26, "reg_x", "nothing"])
def test_an_unknown_registration_is_answered_404(api: ApiCaller, id: str) -> None:
    for method in ("GET", "DELETE"):
        body = problem(api.call(method, f"/v1/registrations/{id}"), 404)
        assert body["detail"] == "No such id: it is unknown, past its retention, or another tenant's."


def test_a_key_of_redis_is_no_id(api: ApiCaller) -> None:
    id = api.registered()["id"]
    problem(api.call("GET", f"/v1/registrations/{id}:progress"), 404)


@pytest.mark.parametrize(
    ("traceparent", "stored"),
    [
        (TRACEPARENT, TRACEPARENT),
        (TRACEPARENT.upper(), None),
        ("ff" + TRACEPARENT[2:], None),
        ("00-" + "0" * 32 + TRACEPARENT[35:], None),
        ("nonsense", None),
    ],
)
def test_a_traceparent_is_kept_if_it_is_well_formed(api: ApiCaller, traceparent: str, stored: str | None) -> None:
    id = api.registered(headers={"traceparent": traceparent})["id"]
    known = api.runtime.stores.registrations.get("default", id)
    assert known
    assert known[0].traceparent == stored


def test_the_same_key_and_body_give_the_first_answer_again(api: ApiCaller) -> None:
    first, again = (api.register(headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (again.status_code, again.data, again.headers["Location"]) == (201, first.data, first.headers["Location"])
    assert len(api.get("/v1/registrations")["items"]) == 1


def test_the_same_key_with_another_body_is_refused(api: ApiCaller) -> None:
    api.register(headers={"Idempotency-Key": "k"})
    assert pointers(api.register(headers={"Idempotency-Key": "k"}, deadline_s=20)) == {"/headers/Idempotency-Key"}


@pytest.mark.parametrize("key", ["", "x" * 256, "Zoë", "a\tb"])
def test_an_idempotency_key_must_be_plain(api: ApiCaller, key: str) -> None:
    assert pointers(api.register(headers={"Idempotency-Key": key})) == {"/headers/Idempotency-Key"}


def test_an_answer_that_is_stored_for_replay_is_encrypted(api: ApiCaller) -> None:
    secret = base64.b64encode(b"canary" * 5).decode()
    api.registered(headers={"Idempotency-Key": "k"}, secret=f"whsec_{secret}")
    stored = [api.runtime.stores.redis.get(key) for key in api.runtime.stores.redis.scan_iter("*", _type="string")]
    assert len(stored) == 2
    assert secret not in str(stored)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ANY_JSON | st.dictionaries(st.sampled_from([*EVERYTHING, "?"]), ANY_JSON), complete=st.booleans())
def test_whatever_is_sent_is_accepted_or_pointed_at(api: ApiCaller, body: Any, *, complete: bool) -> None:
    if complete and isinstance(body, dict):
        body = SMALLEST | body
    answer = api.call("POST", "/v1/registrations", data=json.dumps(body), content_type="application/json")
    assert answer.status_code == 201 or pointers(answer)
