"""What shuts a caller out for a while: budgets, locks and faults with a time of their own."""

from typing import Any

import pytest

CPH = "The throttling threshold has been reached: policy api over ratelimit,"
IAM = "The throttling threshold has been reached. "
WRONG = "The username or password is wrong."
LOCKED_KEY = "Incorrect IAM authentication information: AK access failed to reach the limit,forbidden."


def codes(*answers: Any) -> list[int]:
    return [answer.status_code for answer in answers]


def test_there_is_no_budget_unless_one_is_ordered(timed: Any) -> None:
    assert codes(*(timed.show_job("x") for _ in range(100))) == [404] * 100


def test_a_budget_may_be_spent_at_once_and_comes_back_bit_by_bit(timed: Any) -> None:
    timed.order("/_standin/budget", {"calls": 10, "per_s": 60})
    assert codes(*(timed.show_job("x") for _ in range(11))) == [404] * 10 + [429]
    timed.wait(5.9)
    refused = timed.show_job("x")
    assert (refused.status_code, refused.json["error_code"]) == (429, "APIGW.0308")
    assert refused.json["error_msg"] == CPH + "limit:10,time:1 minute"
    timed.wait(0.2)
    assert codes(timed.show_job("x"), timed.show_job("x")) == [404, 429]


def test_a_budget_never_holds_more_than_its_calls(timed: Any) -> None:
    timed.order("/_standin/budget", {"calls": 2, "per_s": 1})
    timed.wait(3600)
    assert codes(*(timed.show_job("x") for _ in range(3))) == [404, 404, 429]


@pytest.mark.parametrize(
    ("per_s", "words"), [(1, "1 second"), (90, "90 second"), (300, "5 minute"), (7200, "2 hour"), (86400, "1 day")]
)
def test_a_budget_is_told_in_the_longest_unit_that_fits(timed: Any, per_s: int, words: str) -> None:
    timed.order("/_standin/budget", {"calls": 1, "per_s": per_s})
    timed.show_job("x")
    assert timed.show_job("x").json["error_msg"] == f"{CPH}limit:1,time:{words}"


def test_cphs_budget_is_for_cph_alone_and_iam_has_its_own(timed: Any) -> None:
    timed.order("/_standin/budget", {"calls": 1, "per_s": 60})
    assert codes(timed.log_in(), timed.log_in(), timed.show_job("x"), timed.show_job("x")) == [201, 201, 404, 429]
    timed.order("/_standin/budget", {"calls": 2, "per_s": 60, "api": "iam_tokens"})
    assert codes(timed.log_in(), timed.log_in()) == [201, 201]
    refused = timed.log_in()
    assert (refused.status_code, refused.json["error_code"]) == (429, "IAM.0012")
    assert refused.json["error_msg"] == IAM + "Threshold: 2 times per 1 minute(s)."


def test_one_api_of_cph_may_have_a_budget_of_its_own(timed: Any) -> None:
    timed.order("/_standin/budget", {"calls": 1, "per_s": 60, "api": "list_jobs"})
    assert codes(timed.show_job("x"), timed.show_job("x")) == [404, 404]
    assert codes(timed.show_job("?request_ids=r"), timed.show_job("?request_ids=r")) == [404, 404]


def test_who_is_not_let_in_spends_nothing(timed: Any) -> None:
    timed.order("/_standin/budget", {"calls": 1, "per_s": 60})
    for _ in range(3):
        assert timed.show_job_signed("x", "nobody's", "guess").status_code == 401
    assert timed.show_job("x").status_code == 404


def test_after_five_wrong_passwords_in_a_row_the_right_one_is_refused_too(timed: Any) -> None:
    assert {timed.log_in("guess").json["error"]["message"] for _ in range(5)} == {WRONG}
    timed.wait(14 * 60)
    assert timed.log_in().json == {"error": {"code": 401, "message": "The account is locked.", "title": "Unauthorized"}}
    timed.wait(60)
    assert codes(timed.log_in("guess"), timed.log_in()) == [401, 201], "failures are counted anew"


def test_four_wrong_passwords_are_forgiven_by_a_right_one(timed: Any) -> None:
    for _ in range(3):
        assert codes(*(timed.log_in("guess") for _ in range(4)), timed.log_in()) == [401, 401, 401, 401, 201]


def test_after_six_wrong_signatures_in_a_row_the_key_is_locked_for_five_minutes(timed: Any) -> None:
    key = (timed.cloud.account.access_key, timed.cloud.account.secret_key)
    for _ in range(2):
        assert codes(*(timed.show_job_signed("x", key[0], "guess") for _ in range(5))) == [401] * 5
        assert timed.show_job_signed("x", *key).status_code == 404
    for _ in range(6):
        timed.show_job_signed("x", key[0], "guess")
    refused = timed.show_job_signed("x", *key)
    assert (refused.status_code, refused.json["error_code"]) == (401, "APIGW.0301")
    assert refused.json["error_msg"] == LOCKED_KEY
    assert timed.show_job("x").status_code == 404, "tokens are no concern of it"
    timed.wait(300)
    assert timed.show_job_signed("x", *key).status_code == 404


def test_a_fault_may_begin_later_and_end_by_itself(timed: Any) -> None:
    timed.order("/_standin/faults", {"kind": "error_500", "after_s": 10, "for_s": 5})
    seen = []
    for _ in range(4):
        seen += codes(timed.show_job("x"), timed.show_job("x"))
        timed.wait(5)
    assert seen == [404, 404, 404, 404, 500, 500, 404, 404]


def test_a_fault_with_a_time_may_be_counted_too(timed: Any) -> None:
    timed.order("/_standin/faults", {"kind": "error_500", "for_s": 5, "times": 1})
    assert codes(timed.show_job("x"), timed.show_job("x")) == [500, 404]


def test_a_fault_that_waits_hides_no_other(timed: Any) -> None:
    timed.order("/_standin/faults", {"kind": "error_500", "after_s": 10})
    timed.order("/_standin/faults", {"kind": "throttle"})
    assert codes(timed.show_job("x"), timed.show_job("x")) == [429, 404]
    timed.wait(10)
    assert codes(timed.show_job("x"), timed.show_job("x")) == [500, 404]


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("throttle", 429, {"error_code": "IAM.0012", "error_msg": IAM + "Threshold: 10 times per 1 minute(s)."}),
        ("iam_unavailable", 503, {"error_code": "APIGW.0613", "error_msg": "The IAM service is unavailable."}),
        ("unauthorized", 401, {"error": {"code": 401, "message": WRONG, "title": "Unauthorized"}}),
    ],
)
def test_iam_has_faults_of_its_own(timed: Any, kind: str, status: int, body: dict[str, Any]) -> None:
    timed.order("/_standin/faults", {"kind": kind, "api": "iam_tokens"})
    assert timed.show_job("x").status_code == 404, "CPH is spared"
    answer = timed.log_in()
    assert answer.status_code == status
    assert answer.json.items() >= body.items()
    assert timed.log_in().status_code == 201


@pytest.mark.parametrize("kind", ["slow", "drip"])
def test_a_late_token_comes_whole(timed: Any, kind: str) -> None:
    timed.order("/_standin/faults", {"kind": kind, "api": "iam_tokens", "seconds": 0.05})
    answer = timed.log_in()
    assert answer.status_code == 201
    assert answer.json["token"]["methods"] == ["password"]
    timed.cloud.tokens.check(answer.headers["X-Subject-Token"], timed.now())


@pytest.mark.parametrize("order", [{"kind": "error_500"}, {"kind": "error_500", "api": "show_job"}])
def test_cphs_faults_leave_iam_alone(timed: Any, order: dict[str, str]) -> None:
    timed.order("/_standin/faults", order)
    assert codes(timed.log_in(), timed.show_job("x")) == [201, 500]


def test_recovering_ends_all_that_was_ordered(timed: Any) -> None:
    timed.order("/_standin/faults", {"kind": "error_500", "times": None})
    timed.order("/_standin/budget", {"calls": 1, "per_s": 60, "api": "iam_tokens"})
    timed.order("/_standin/host", {"agency": False})
    for _ in range(6):
        timed.show_job_signed("x", timed.cloud.account.access_key, "guess")
    timed.log_in()
    timed.client.delete("/_standin/faults")
    key = (timed.cloud.account.access_key, timed.cloud.account.secret_key)
    assert codes(timed.show_job_signed("x", *key), timed.log_in(), timed.log_in()) == [404, 201, 201]
    assert timed.client.get("/openstack/latest/securitykey").status_code == 200
