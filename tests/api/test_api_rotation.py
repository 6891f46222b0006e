"""POST /v1/registrations/{id}/rotate-secret: a new secret, and an overlap during which both sign."""

import base64
from datetime import datetime
from typing import Any

import pytest

from app.domain.access import Scope
from app.domain.registration import MAX_SECRETS
from app.domain.signature import secret_bytes
from tests.support.api_client import ApiCaller, problem

OWN = "whsec_" + base64.b64encode(b"canary-of-a-secret-brought-along").decode()


def rotate(api: ApiCaller, id: str, body: Any = None, **details: Any) -> Any:
    return api.call("POST", f"/v1/registrations/{id}/rotate-secret", json=body or {}, **details)


def rotated(api: ApiCaller, id: str, body: Any = None, **details: Any) -> Any:
    answer = rotate(api, id, body, **details)
    assert answer.status_code == 200, answer.text
    return answer.json


def valid_secrets(api: ApiCaller, id: str) -> tuple[str, ...]:
    known = api.runtime.stores.registrations.get("default", id)
    assert known
    secrets: tuple[str, ...] = known[0].secrets_at(api.runtime.stores.clock())
    return secrets


def test_a_new_secret_is_shown_this_once_and_both_sign_for_a_day(api: ApiCaller) -> None:
    made = api.registered()
    answered = rotated(api, made["id"])
    assert len(secret_bytes(answered["secret"])) == 32
    until = datetime.fromisoformat(answered["earlier_until"])
    assert 86_390 < (until - api.runtime.stores.clock()).total_seconds() <= 86_400
    assert valid_secrets(api, made["id"]) == (answered["secret"], made["secret"])
    shown = api.call("GET", f"/v1/registrations/{made['id']}").text
    assert "whsec_" not in shown


def test_a_secret_may_be_brought_along_and_the_overlap_be_none(api: ApiCaller) -> None:
    id = api.registered()["id"]
    answered = rotated(api, id, {"secret": OWN, "overlap_s": 0})
    assert (answered["id"], answered["secret"]) == (id, OWN)
    assert valid_secrets(api, id) == (OWN,)


def test_nothing_else_of_a_registration_changes(api: ApiCaller) -> None:
    made = api.registered(metadata={"room": "ops"}, deadline_s=60)
    rotated(api, made.pop("id"))
    del made["secret"]
    [shown] = api.get("/v1/registrations")["items"]
    del shown["id"]
    assert shown == made


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"overlap_s": -1}, "/overlap_s"),
        ({"overlap_s": 604_801}, "/overlap_s"),
        ({"overlap_s": "60"}, "/overlap_s"),
        ({"overlap_s": None}, "/overlap_s"),
        ({"secret": "whsec_canary"}, "/secret"),
        ({"secret": 7}, "/secret"),
        ({"canary": 1}, "/canary"),
    ],
)
def test_a_wrong_field_is_pointed_at(api: ApiCaller, body: Any, pointer: str) -> None:
    id = api.registered(secret=OWN)["id"]
    refused = problem(rotate(api, id, body), 422)
    assert [error["pointer"] for error in refused["errors"]] == [pointer]
    assert valid_secrets(api, id) == (OWN,)


def test_the_secret_that_signs_is_no_new_one(api: ApiCaller) -> None:
    id = api.registered(secret=OWN)["id"]
    answer = rotate(api, id, {"secret": OWN})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/secret"
    assert OWN not in answer.text


def test_too_many_rotations_in_a_row_are_refused_with_the_way_out(api: ApiCaller) -> None:
    id = api.registered()["id"]
    for _ in range(MAX_SECRETS - 1):
        rotated(api, id)
    assert "0" in problem(rotate(api, id), 422)["hint"]
    last = rotated(api, id, {"overlap_s": 0})["secret"]
    assert valid_secrets(api, id) == (last,)


@pytest.mark.parametrize("body", [{}, {"secret": OWN}, {"overlap_s": 0}])
def test_the_same_key_and_body_give_the_first_answer_again(api: ApiCaller, body: Any) -> None:
    made = api.registered()
    first, again = (rotate(api, made["id"], body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, first.data) == (again.status_code, again.data) == (200, first.data)
    assert valid_secrets(api, made["id"])[0] == first.json["secret"]
    assert len(valid_secrets(api, made["id"])) == (1 if "overlap_s" in body else 2)


def test_the_same_key_for_something_else_is_refused(api: ApiCaller) -> None:
    one, other = (api.registered(headers={"Idempotency-Key": key}) for key in "ab")
    rotated(api, one["id"], headers={"Idempotency-Key": "k"})
    for id, body, key in ((one["id"], {"overlap_s": 1}, "k"), (other["id"], {}, "k"), (one["id"], {}, "a")):
        refused = problem(rotate(api, id, body, headers={"Idempotency-Key": key}), 422)
        assert refused["errors"][0]["pointer"] == "/headers/Idempotency-Key"
    assert valid_secrets(api, other["id"]) == (other["secret"],)


def test_what_is_not_there_or_another_tenants_is_answered_404(api: ApiCaller) -> None:
    id = api.registered()["id"]
    key = api.runtime.stores.api_keys.create("other", frozenset(Scope) - {Scope.ADMIN}, api.runtime.stores.clock())
    problem(rotate(api, id, key=key), 404)
    problem(rotate(api, id, key=key, headers={"Idempotency-Key": "k"}), 404)
    problem(rotate(api, "reg_" + "0" * 26), 404)
    assert len(valid_secrets(api, id)) == 1


def test_a_key_that_may_only_read_rotates_nothing(api: ApiCaller) -> None:
    id = api.registered()["id"]
    key = api.runtime.stores.api_keys.create(
        "default", frozenset({Scope.REGISTRATIONS_READ}), api.runtime.stores.clock()
    )
    problem(rotate(api, id, key=key), 403)
