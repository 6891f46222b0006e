"""Budgets, locks and timed faults: each refuses a caller for a while."""

from typing import Any

import pytest

CPH = "The throttling threshold has been reached: policy api over ratelimit,"
IAM = "The throttling threshold has been reached. "
WRONG = "The username or password is wrong."
LOCKED_KEY = "Incorrect IAM authentication information: AK access failed to reach the limit,forbidden."


def codes(*answers: Any) -> list[int]:
    return [answer.status_code for answer in answers]


def test_there_is_no_budget_unless_one_is_ordered(timed_standin: Any) -> None:
    assert codes(*(timed_standin.show_job("x") for _ in range(100))) == [404] * 100


def test_a_budget_may_be_spent_at_once_and_comes_back_bit_by_bit(timed_standin: Any) -> None:
    timed_standin.order("/_standin/budget", {"calls": 10, "per_s": 60})
    assert codes(*(timed_standin.show_job("x") for _ in range(11))) == [404] * 10 + [429]
    timed_standin.wait(5.9)
    refused = timed_standin.show_job("x")
    assert (refused.status_code, refused.json["error_code"]) == (429, "APIGW.0308")
    assert refused.json["error_msg"] == CPH + "limit:10,time:1 minute"
    timed_standin.wait(0.2)
    assert codes(timed_standin.show_job("x"), timed_standin.show_job("x")) == [404, 429]


def test_a_budget_never_holds_more_than_its_calls(timed_standin: Any) -> None:
    timed_standin.order("/_standin/budget", {"calls": 2, "per_s": 1})
    timed_standin.wait(3600)
    assert codes(*(timed_standin.show_job("x") for _ in range(3))) == [404, 404, 429]


@pytest.mark.parametrize(
    ("per_s", "period"), [(1, "1 second"), (90, "90 second"), (300, "5 minute"), (7200, "2 hour"), (86400, "1 day")]
)
def test_a_budget_is_reported_in_the_longest_unit_that_fits(timed_standin: Any, per_s: int, period: str) -> None:
    timed_standin.order("/_standin/budget", {"calls": 1, "per_s": per_s})
    timed_standin.show_job("x")
    assert timed_standin.show_job("x").json["error_msg"] == f"{CPH}limit:1,time:{period}"


def test_cphs_budget_is_for_cph_alone_and_iam_has_its_own(timed_standin: Any) -> None:
    timed_standin.order("/_standin/budget", {"calls": 1, "per_s": 60})
    assert codes(
        timed_standin.log_in(), timed_standin.log_in(), timed_standin.show_job("x"), timed_standin.show_job("x")
    ) == [201, 201, 404, 429]
    timed_standin.order("/_standin/budget", {"calls": 2, "per_s": 60, "api": "iam_tokens"})
    assert codes(timed_standin.log_in(), timed_standin.log_in()) == [201, 201]
    refused = timed_standin.log_in()
    assert (refused.status_code, refused.json["error_code"]) == (429, "IAM.0012")
    assert refused.json["error_msg"] == IAM + "Threshold: 2 times per 1 minute(s)."


def test_one_api_of_cph_may_have_a_budget_of_its_own(timed_standin: Any) -> None:
    timed_standin.order("/_standin/budget", {"calls": 1, "per_s": 60, "api": "list_jobs"})
    assert codes(timed_standin.show_job("x"), timed_standin.show_job("x")) == [404, 404]
    assert codes(timed_standin.show_job("?request_ids=r"), timed_standin.show_job("?request_ids=r")) == [404, 404]


def test_who_is_not_let_in_spends_nothing(timed_standin: Any) -> None:
    timed_standin.order("/_standin/budget", {"calls": 1, "per_s": 60})
    for _ in range(3):
        assert timed_standin.show_job_signed("x", "nobody's", "guess").status_code == 401
    assert timed_standin.show_job("x").status_code == 404


def test_after_five_wrong_passwords_in_a_row_the_right_one_is_refused_too(timed_standin: Any) -> None:
    assert {timed_standin.log_in("guess").json["error"]["message"] for _ in range(5)} == {WRONG}
    timed_standin.wait(14 * 60)
    assert timed_standin.log_in().json == {
        "error": {"code": 401, "message": "The account is locked.", "title": "Unauthorized"}
    }
    timed_standin.wait(60)
    assert codes(timed_standin.log_in("guess"), timed_standin.log_in()) == [401, 201], (
        "failures are counted from zero again"
    )


def test_four_wrong_passwords_are_forgiven_by_a_right_one(timed_standin: Any) -> None:
    for _ in range(3):
        assert codes(*(timed_standin.log_in("guess") for _ in range(4)), timed_standin.log_in()) == [
            401,
            401,
            401,
            401,
            201,
        ]


def test_after_six_wrong_signatures_in_a_row_the_key_is_locked_for_five_minutes(timed_standin: Any) -> None:
    key = (timed_standin.cloud.account.access_key, timed_standin.cloud.account.secret_key)
    for _ in range(2):
        assert codes(*(timed_standin.show_job_signed("x", key[0], "guess") for _ in range(5))) == [401] * 5
        assert timed_standin.show_job_signed("x", *key).status_code == 404
    for _ in range(6):
        timed_standin.show_job_signed("x", key[0], "guess")
    refused = timed_standin.show_job_signed("x", *key)
    assert (refused.status_code, refused.json["error_code"]) == (401, "APIGW.0301")
    assert refused.json["error_msg"] == LOCKED_KEY
    assert timed_standin.show_job("x").status_code == 404, "tokens still work"
    timed_standin.wait(300)
    assert timed_standin.show_job_signed("x", *key).status_code == 404


def test_a_fault_may_begin_later_and_end_by_itself(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "error_500", "after_s": 10, "for_s": 5})
    statuses = []
    for _ in range(4):
        statuses += codes(timed_standin.show_job("x"), timed_standin.show_job("x"))
        timed_standin.wait(5)
    assert statuses == [404, 404, 404, 404, 500, 500, 404, 404]


def test_a_fault_with_a_time_may_be_counted_too(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "error_500", "for_s": 5, "times": 1})
    assert codes(timed_standin.show_job("x"), timed_standin.show_job("x")) == [500, 404]


def test_a_fault_that_waits_hides_no_other(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "error_500", "after_s": 10})
    timed_standin.order("/_standin/faults", {"kind": "throttle"})
    assert codes(timed_standin.show_job("x"), timed_standin.show_job("x")) == [429, 404]
    timed_standin.wait(10)
    assert codes(timed_standin.show_job("x"), timed_standin.show_job("x")) == [500, 404]


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("throttle", 429, {"error_code": "IAM.0012", "error_msg": IAM + "Threshold: 10 times per 1 minute(s)."}),
        ("iam_unavailable", 503, {"error_code": "APIGW.0613", "error_msg": "The IAM service is unavailable."}),
        ("unauthorized", 401, {"error": {"code": 401, "message": WRONG, "title": "Unauthorized"}}),
    ],
)
def test_iam_has_faults_of_its_own(timed_standin: Any, kind: str, status: int, body: dict[str, Any]) -> None:
    timed_standin.order("/_standin/faults", {"kind": kind, "api": "iam_tokens"})
    assert timed_standin.show_job("x").status_code == 404, "CPH is not affected"
    answer = timed_standin.log_in()
    assert answer.status_code == status
    assert answer.json.items() >= body.items()
    assert timed_standin.log_in().status_code == 201


@pytest.mark.parametrize("kind", ["slow", "drip"])
def test_a_late_token_comes_whole(timed_standin: Any, kind: str) -> None:
    timed_standin.order("/_standin/faults", {"kind": kind, "api": "iam_tokens", "seconds": 0.05})
    answer = timed_standin.log_in()
    assert answer.status_code == 201
    assert answer.json["token"]["methods"] == ["password"]
    timed_standin.cloud.tokens.check(answer.headers["X-Subject-Token"], timed_standin.now())


@pytest.mark.parametrize("order", [{"kind": "error_500"}, {"kind": "error_500", "api": "show_job"}])
def test_cphs_faults_leave_iam_alone(timed_standin: Any, order: dict[str, str]) -> None:
    timed_standin.order("/_standin/faults", order)
    assert codes(timed_standin.log_in(), timed_standin.show_job("x")) == [201, 500]


def test_recovering_ends_all_that_was_ordered(timed_standin: Any) -> None:
    timed_standin.order("/_standin/faults", {"kind": "error_500", "times": None})
    timed_standin.order("/_standin/budget", {"calls": 1, "per_s": 60, "api": "iam_tokens"})
    timed_standin.order("/_standin/host", {"agency": False})
    for _ in range(6):
        timed_standin.show_job_signed("x", timed_standin.cloud.account.access_key, "guess")
    timed_standin.log_in()
    timed_standin.client.delete("/_standin/faults")
    key = (timed_standin.cloud.account.access_key, timed_standin.cloud.account.secret_key)
    assert codes(timed_standin.show_job_signed("x", *key), timed_standin.log_in(), timed_standin.log_in()) == [
        404,
        201,
        201,
    ]
    assert timed_standin.client.get("/openstack/latest/securitykey").status_code == 200
