"""Access to every route by scope and tenant, generated from the OpenAPI document."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.access import Scope
from tests.support.api_client import ApiCaller, problem

REFUSED = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
BODIES: dict[str, Callable[[], Any]] = {
    "/v1/registrations": lambda: {"job_id": "one", "callback_url": "http://127.0.0.1:9/"},
    "/v1/callbacks/test": lambda: {"callback_url": "http://127.0.0.1:9/"},
    "/v1/deliveries/redeliver": lambda: {"state": "dead"},
}
# The segments that precede `{…}` in a path.
COLLECTIONS = ("registrations", "deliveries", "destinations", "keys", "jobs")
STREAM = "/v1/events/stream"
# Well-formed ids that no tenant has.
UNKNOWN = {
    "registrations": "reg_" + "0" * 26,
    "deliveries": "dlv_" + "0" * 26,
    "destinations": "dst_" + "0" * 16,
    "keys": "0" * 12,
    "jobs": "none",
}


def calls(api: ApiCaller) -> list[tuple[str, str, str]]:
    """Method, path and required scope of each call that needs a key."""
    paths = api.get("/openapi.json", key=None)["paths"]
    return [
        (method.upper(), path, call["security"][0]["ApiKey"][0])
        for path, methods in paths.items()
        for method, call in methods.items()
        if call["security"]
    ]


def create_key(api: ApiCaller, tenant: str, *scopes: Scope) -> str:
    return api.runtime.stores.api_keys.create(tenant, frozenset(scopes), api.runtime.stores.clock())


def create_one_of_each(api: ApiCaller, admin: str) -> dict[str, str]:
    """Creates an item of each kind with this tenant's key; returns their ids."""
    assert api.register(job_id=None, submission=REFUSED, key=admin).status_code == 201
    registration = api.register(job_id="one", key=admin).json
    of_lists = {name: api.get(f"/v1/{name}", key=admin)["items"][0]["id"] for name in ("deliveries", "destinations")}
    api_key = api.call("POST", "/v1/keys", json={}, key=admin).json
    return of_lists | {"registrations": registration["id"], "keys": api_key["id"], "jobs": "one"}


def call(api: ApiCaller, method: str, path: str, ids: dict[str, str], key: str | None) -> Any:
    filled = re.sub(r"/(\w+)/\{\w+\}", lambda match: f"/{match[1]}/{ids[match[1]]}", path)
    body = BODIES.get(path, lambda: {})() if method == "POST" else None
    answer = api.call(method, filled, key=key, json=body, buffered=False)
    if path == STREAM:
        answer.close()
    return answer


def test_the_matrix_has_every_scope(api: ApiCaller) -> None:
    assert {scope for _, _, scope in calls(api)} == set(Scope)
    assert len(calls(api)) >= 24


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_lets_in_where_the_document_says_and_nowhere_else(api: ApiCaller, scope: Scope) -> None:
    for method, path, needed in calls(api):
        api.runtime.stores.redis.flushall()
        ids = create_one_of_each(api, create_key(api, "acme", Scope.ADMIN))
        answer = call(api, method, path, ids, create_key(api, "acme", scope))
        if scope in (needed, Scope.ADMIN):
            assert answer.status_code in (200, 201, 202, 204), (method, path, answer.text)
        else:
            assert needed in problem(answer, 403)["detail"], (method, path)


@pytest.mark.parametrize("key", [None, "", "cphb_000000000000_x", "bootstrap-key-for-test"])
def test_nobody_is_let_in_anywhere(api: ApiCaller, key: str | None) -> None:
    ids = create_one_of_each(api, create_key(api, "acme", Scope.ADMIN))
    for method, path, _ in calls(api):
        problem(call(api, method, path, ids, key), 401)


def test_what_is_anothers_is_answered_as_what_is_nobodys(api: ApiCaller) -> None:
    """The bodies are equal for every call, and the other tenant's items have not changed."""
    theirs = create_key(api, "acme", Scope.ADMIN)
    ids, ours = create_one_of_each(api, theirs), create_key(api, "other", Scope.ADMIN)
    before = {name: api.call("GET", f"/v1/{name}/{ids[name]}", key=theirs).json for name in COLLECTIONS[:3]}
    for method, path, _ in calls(api):
        if "{" in path:
            anothers = problem(call(api, method, path, ids, ours), 404)
            nobodys = problem(call(api, method, path, UNKNOWN, ours), 404)
            assert anothers | {"request_id": ""} == nobodys | {"request_id": ""}, (method, path)
    assert before == {name: api.call("GET", f"/v1/{name}/{ids[name]}", key=theirs).json for name in COLLECTIONS[:3]}


def test_lists_show_what_is_ones_own(api: ApiCaller) -> None:
    ids = create_one_of_each(api, create_key(api, "acme", Scope.ADMIN))
    ours = create_key(api, "other", Scope.ADMIN)
    for method, path, _ in calls(api):
        if method == "GET" and "{" not in path and path != STREAM:
            text = call(api, method, path, {}, ours).text
            assert not [id for name, id in ids.items() if name != "jobs" and id in text], path
