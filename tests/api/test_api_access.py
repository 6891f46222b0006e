"""API keys: authentication, scopes, expiry and the isolation of tenants."""

from datetime import timedelta

import pytest

from app.devkit.processes import wait_until
from app.domain.access import Scope
from tests.support.api_client import SMALLEST, ApiCaller, problem

READ = frozenset({Scope.REGISTRATIONS_READ})
WRITE = frozenset({Scope.REGISTRATIONS_WRITE})
BOTH = READ | WRITE


def create_key(api: ApiCaller, tenant: str, scopes: frozenset[Scope], lifetime: timedelta | None = None) -> str:
    return api.runtime.stores.api_keys.create(tenant, scopes, api.runtime.stores.clock(), lifetime)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer cphb_00_x", "Basic Zm9v", "bootstrap-key-for-tests", "ÿ"],
)
@pytest.mark.parametrize("path", ["/v1/registrations", "/v1/nothing", "/v1/", "/v1"])
def test_everything_under_v1_needs_a_key(api: ApiCaller, authorization: str | None, path: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = api.call("GET", path, key=None, headers=headers)
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_may_be_in_small_letters(api: ApiCaller) -> None:
    answer = api.call("GET", "/v1/registrations", key=None, headers={"Authorization": "bearer bootstrap-key-for-tests"})
    assert answer.status_code == 200


def test_a_key_that_may_read_may_not_write(api: ApiCaller) -> None:
    reader = create_key(api, "acme", READ)
    assert api.call("GET", "/v1/registrations", key=reader).status_code == 200
    assert api.call("GET", "/v1/deliveries", key=reader).status_code == 200
    assert Scope.REGISTRATIONS_WRITE in problem(api.register(key=reader), 403)["detail"]
    problem(api.call("DELETE", "/v1/registrations/reg_x", key=reader), 403)


def test_a_key_that_may_write_may_not_read(api: ApiCaller) -> None:
    writer = create_key(api, "acme", WRITE)
    assert api.register(key=writer).status_code == 201
    problem(api.call("GET", "/v1/registrations", key=writer), 403)
    problem(api.call("GET", "/v1/deliveries", key=writer), 403)


def test_a_missing_scope_is_reported_before_a_wrong_field(api: ApiCaller) -> None:
    problem(api.call("POST", "/v1/registrations", json={}, key=create_key(api, "acme", READ)), 403)


def test_an_expired_key_is_no_key(api: ApiCaller) -> None:
    short_lived = create_key(api, "acme", BOTH, timedelta(seconds=1))
    assert api.call("GET", "/v1/registrations", key=short_lived).status_code == 200
    wait_until(lambda: api.call("GET", "/v1/registrations", key=short_lived).status_code == 401, what="key expiry")


def test_what_belongs_to_another_tenant_looks_as_if_it_were_not_there(api: ApiCaller) -> None:
    theirs = api.registered()["id"]
    ours = create_key(api, "acme", BOTH)
    unknown = problem(api.call("GET", "/v1/registrations/" + "reg_" + "0" * 26, key=ours), 404)
    for method in ("GET", "DELETE"):
        answer = problem(api.call(method, f"/v1/registrations/{theirs}", key=ours), 404)
        assert answer | {"request_id": ""} == unknown | {"request_id": ""}
    assert api.get("/v1/registrations", key=ours)["items"] == []
    assert api.get(f"/v1/registrations/{theirs}")["state"] == "watching"


def test_the_same_idempotency_key_of_two_tenants_is_two_keys(api: ApiCaller) -> None:
    headers = {"Idempotency-Key": "the same"}
    first = api.register(headers=headers)
    second = api.register(headers=headers, key=create_key(api, "acme", BOTH))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json["id"] != second.json["id"]


def test_open_paths_need_no_key(api: ApiCaller) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert api.call("GET", path, key=None).status_code == 200
    problem(api.call("GET", "/v10", key=None), 404)


def test_a_key_is_never_logged(api: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bridge")
    api.call("POST", "/v1/registrations?token=canary-query", json=SMALLEST)
    lines = str([record.__dict__ for record in caplog.records])
    assert "audit" in lines
    assert not [secret for secret in ("bootstrap-key", "canary-query", "s3cret", "whsec_") if secret in lines]
