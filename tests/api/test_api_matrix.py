"""Route by scope by tenant, made from the document: who is let in, and who sees what."""

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
# Another tenant's ids, by what stands before `{…}` in a path.
COLLECTIONS = ("registrations", "deliveries", "destinations", "keys", "jobs")
ENDLESS = "/v1/events/stream"
UNKNOWN = {
    "registrations": "reg_" + "0" * 26,
    "deliveries": "dlv_" + "0" * 26,
    "destinations": "dst_" + "0" * 16,
    "keys": "0" * 12,
    "jobs": "none",
}


def calls(api: ApiCaller) -> list[tuple[str, str, str]]:
    """Method, path and scope of each."""
    paths = api.get("/openapi.json", key=None)["paths"]
    return [
        (method.upper(), path, call["security"][0]["ApiKey"][0])
        for path, methods in paths.items()
        for method, call in methods.items()
        if call["security"]
    ]


def key(api: ApiCaller, tenant: str, *scopes: Scope) -> str:
    return api.runtime.stores.api_keys.create(tenant, frozenset(scopes), api.runtime.stores.clock())


def owned(api: ApiCaller, admin: str) -> dict[str, str]:
    """An id of each kind, of that tenant."""
    assert api.register(job_id=None, submission=REFUSED, key=admin).status_code == 201
    registration = api.register(job_id="one", key=admin).json
    of_lists = {name: api.get(f"/v1/{name}", key=admin)["items"][0]["id"] for name in ("deliveries", "destinations")}
    made = api.call("POST", "/v1/keys", json={}, key=admin).json
    return of_lists | {"registrations": registration["id"], "keys": made["id"], "jobs": "one"}


def call(api: ApiCaller, method: str, path: str, ids: dict[str, str], shown: str | None) -> Any:
    filled = re.sub(r"/(\w+)/\{\w+\}", lambda match: f"/{match[1]}/{ids[match[1]]}", path)
    body = BODIES.get(path, lambda: {})() if method == "POST" else None
    answer = api.call(method, filled, key=shown, json=body, buffered=False)
    if path == ENDLESS:
        answer.close()
    return answer


def test_the_matrix_has_every_scope(api: ApiCaller) -> None:
    assert {scope for _, _, scope in calls(api)} == set(Scope)
    assert len(calls(api)) >= 24


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_lets_in_where_the_document_says_and_nowhere_else(api: ApiCaller, scope: Scope) -> None:
    for method, path, needed in calls(api):
        api.runtime.stores.redis.flushall()
        ids = owned(api, key(api, "acme", Scope.ADMIN))
        answer = call(api, method, path, ids, key(api, "acme", scope))
        if scope in (needed, Scope.ADMIN):
            assert answer.status_code in (200, 201, 202, 204), (method, path, answer.text)
        else:
            assert needed in problem(answer, 403)["detail"], (method, path)


@pytest.mark.parametrize("shown", [None, "", "cphb_000000000000_x", "bootstrap-key-for-test"])
def test_nobody_is_let_in_anywhere(api: ApiCaller, shown: str | None) -> None:
    ids = owned(api, key(api, "acme", Scope.ADMIN))
    for method, path, _ in calls(api):
        problem(call(api, method, path, ids, shown), 401)


def test_what_is_anothers_is_answered_as_what_is_nobodys(api: ApiCaller) -> None:
    """The same body, whatever the call; and nothing of theirs has changed."""
    theirs = key(api, "acme", Scope.ADMIN)
    ids, ours = owned(api, theirs), key(api, "other", Scope.ADMIN)
    before = {name: api.call("GET", f"/v1/{name}/{ids[name]}", key=theirs).json for name in COLLECTIONS[:3]}
    for method, path, _ in calls(api):
        if "{" in path:
            anothers = problem(call(api, method, path, ids, ours), 404)
            nobodys = problem(call(api, method, path, UNKNOWN, ours), 404)
            assert anothers | {"request_id": ""} == nobodys | {"request_id": ""}, (method, path)
    assert before == {name: api.call("GET", f"/v1/{name}/{ids[name]}", key=theirs).json for name in COLLECTIONS[:3]}


def test_lists_show_what_is_ones_own(api: ApiCaller) -> None:
    ids = owned(api, key(api, "acme", Scope.ADMIN))
    ours = key(api, "other", Scope.ADMIN)
    for method, path, _ in calls(api):
        if method == "GET" and "{" not in path and path != ENDLESS:
            text = call(api, method, path, {}, ours).text
            assert not [id for name, id in ids.items() if name != "jobs" and id in text], path
