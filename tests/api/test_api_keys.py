"""/v1/keys: create, list, rotate and revoke the keys of the caller's tenant."""

import time
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.devkit.processes import wait_until
from app.domain.access import Scope
from app.domain.times import LEAP_MARGIN, from_ms, rfc3339, to_ms
from app.store.api_keys import ApiKeys, key_id
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem
from tests.support.manual_clock import ManualClock

USUAL = ["deliveries:write", "registrations:read", "registrations:write"]


def create_key(api: ApiCaller, **fields: Any) -> Any:
    answer = api.call("POST", "/v1/keys", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json


def seconds_left(api: ApiCaller, id: str) -> float:
    """Redis deletes the key later, by its own clock."""
    stores = api.runtime.stores
    left = int(stores.redis.hget(keys.api_key(id), "expires")) / 1000 - stores.clock().timestamp()
    assert stores.redis.ttl(keys.api_key(id)) == pytest.approx(left + LEAP_MARGIN.total_seconds(), abs=2)
    return left


def works(api: ApiCaller, key: str) -> bool:
    return api.call("GET", "/v1/registrations", key=key).status_code == 200


def test_a_key_is_made_and_shown_once(api: ApiCaller) -> None:
    key = create_key(api, name="the bot's")
    assert key["key"].startswith(f"cphb_{key['id']}_")
    assert (key["name"], key["scopes"], key["expires_at"], key["last_used_at"]) == ("the bot's", USUAL, None, None)
    assert api.get("/v1/keys")["items"] == [{name: value for name, value in key.items() if name != "key"}]
    assert works(api, key["key"])
    assert problem(api.call("GET", "/v1/keys", key=key["key"]), 403)["detail"].endswith("admin")


def test_the_key_itself_is_kept_nowhere(api: ApiCaller) -> None:
    secret = create_key(api, name="n")["key"].split("_", 2)[2]
    redis = api.runtime.stores.redis
    stored = [redis.hgetall(name) if redis.type(name) == "hash" else name for name in redis.scan_iter()]
    assert secret not in str(stored)


def test_a_key_has_the_scopes_and_the_life_that_were_asked_for(api: ApiCaller) -> None:
    key = create_key(api, scopes=["admin"], expires_in_s=60)
    assert key["scopes"] == ["admin"]
    assert key["expires_at"] == rfc3339(from_ms(int(api.runtime.stores.redis.hget(keys.api_key(key["id"]), "expires"))))
    assert 50 < seconds_left(api, key["id"]) <= 60
    assert create_key(api, scopes=["registrations:read"])["scopes"] == ["registrations:read"]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("scopes", [[], ["all"], "admin", None]),
        ("expires_in_s", [0, -1, 1.5, "60", 10**10]),
        ("name", ["a\nb", "x" * 101, 5, "\u009b"]),
        ("tenant", ["acme"]),
    ],
)
def test_a_wrong_field_is_pointed_at(api: ApiCaller, field: str, values: list[Any]) -> None:
    for value in values:
        errors = problem(api.call("POST", "/v1/keys", json={field: value}), 422)["errors"]
        assert errors[0]["pointer"].startswith(f"/{field}"), value


def test_a_key_is_made_once_for_an_idempotency_key(api: ApiCaller) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (api.call("POST", "/v1/keys", json={}, headers=headers) for _ in range(2))
    assert first.json == again.json
    assert len(api.get("/v1/keys")["items"]) == 1


def test_a_revoked_key_lets_nobody_in_within_seconds(api: ApiCaller, runtime: Runtime) -> None:
    key = create_key(api)
    other = ApiCaller(runtime)  # another process, which will have cached the second key
    api.call("DELETE", f"/v1/keys/{key['id']}")
    assert not works(api, key["key"])
    assert api.get("/v1/keys")["items"] == []
    again = create_key(api)
    assert works(other, again["key"])
    assert api.call("DELETE", f"/v1/keys/{again['id']}").status_code == 204
    wait_until(lambda: not works(other, again["key"]), timeout=5, what="the other process to refuse the key")


def test_a_rotated_key_is_good_until_the_overlap_ends(api: ApiCaller) -> None:
    old = create_key(api, name="n", scopes=["registrations:read"], expires_in_s=1_000)
    answer = api.call("POST", f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 60})
    assert answer.status_code == 201
    new = answer.json
    assert new["id"] != old["id"]
    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    assert works(api, old["key"])
    assert works(api, new["key"])
    assert 50 < seconds_left(api, old["id"]) <= 60
    assert 990 < seconds_left(api, new["id"]) <= 1_000
    last = api.call("POST", f"/v1/keys/{new['id']}/rotate", json={"overlap_s": 0}).json
    assert [works(api, key["key"]) for key in (new, last)] == [False, True]
    assert not api.runtime.stores.redis.exists(keys.api_key(new["id"]))


def test_a_key_expires_by_the_deployments_time_whatever_redis_clock_says(stores: Stores) -> None:
    clock, tenant = ManualClock(stores.clock() + timedelta(minutes=59)), "acme"
    api_keys = ApiKeys(stores.scripts, clock, time.monotonic)
    key = api_keys.create(tenant, frozenset(Scope), stores.clock(), timedelta(hours=1))
    id = key_id(key)
    assert api_keys.principal(key, cached=False)
    assert [each.id for each in api_keys.page(tenant, limit=5, cursor=None)[0]] == [id]
    clock.now += timedelta(minutes=2)
    assert stores.redis.exists(keys.api_key(id))
    assert api_keys.principal(key, cached=False) is None
    assert api_keys.get(tenant, id) is None
    assert api_keys.rotate(tenant, id, clock.now, timedelta(days=1)) is None
    assert api_keys.page(tenant, limit=5, cursor=None) == ([], None)


@pytest.mark.parametrize("expires", ["", "soon", "-", "9" * 30])
def test_a_key_whose_expiry_cannot_be_read_has_expired(api: ApiCaller, expires: str) -> None:
    key = create_key(api, expires_in_s=1_000)
    assert works(api, key["key"])
    api.runtime.stores.redis.hset(keys.api_key(key["id"]), "expires", expires)
    api.runtime.stores.api_keys._cache.clear()
    assert not works(api, key["key"])
    assert api.get("/v1/keys")["items"] == []


def test_keys_that_have_ended_are_in_no_list(api: ApiCaller) -> None:
    redis = api.runtime.stores.redis
    short_lived = [create_key(api, expires_in_s=1)["id"] for _ in range(3)]
    rotated = create_key(api, expires_in_s=1_000)["id"]
    api.call("POST", f"/v1/keys/{rotated}/rotate", json={"overlap_s": 0})

    def listed_with_one_more() -> set[str]:
        create_key(api, expires_in_s=1_000)
        return set(redis.zrange(keys.api_keys("default"), 0, -1))

    wait_until(lambda: not {*short_lived, rotated} & listed_with_one_more(), what="the keys to leave the list")
    assert all(redis.exists(keys.api_key(id)) for id in listed_with_one_more())


def test_a_rotation_gives_no_key_a_longer_life(api: ApiCaller) -> None:
    old = create_key(api, expires_in_s=30)
    api.call("POST", f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 86_400})
    assert seconds_left(api, old["id"]) <= 30


def test_its_last_use_is_written_once_a_minute(api: ApiCaller) -> None:
    key = create_key(api)
    name = keys.api_key(key["id"])
    assert works(api, key["key"])
    used = api.runtime.stores.redis.hget(name, "used")
    assert api.get("/v1/keys")["items"][0]["last_used_at"] == rfc3339(from_ms(int(used)))
    principal = api.runtime.stores.api_keys.principal
    for _ in range(3):
        api.runtime.stores.api_keys._cache.clear()
        assert principal(key["key"])
    assert api.runtime.stores.redis.hget(name, "used") == used
    earlier = to_ms(api.runtime.stores.clock()) - 60_001
    api.runtime.stores.redis.hset(name, "used", earlier)
    api.runtime.stores.api_keys._cache.clear()
    assert principal(key["key"])
    assert int(api.runtime.stores.redis.hget(name, "used")) > earlier


def test_a_key_that_was_revoked_is_not_recreated_by_its_use(api: ApiCaller) -> None:
    key = create_key(api)
    assert api.runtime.stores.api_keys.principal(key["key"])
    api.call("DELETE", f"/v1/keys/{key['id']}")
    assert not works(api, key["key"])
    assert not api.runtime.stores.redis.exists(keys.api_key(key["id"]))


def test_keys_are_a_tenants_own(api: ApiCaller) -> None:
    key = create_key(api)
    theirs = api.runtime.stores.api_keys.create("acme", frozenset({Scope.ADMIN}), api.runtime.stores.clock())
    assert [each["id"] for each in api.get("/v1/keys", key=theirs)["items"]] == [theirs.split("_")[1]]
    unknown = problem(api.call("DELETE", "/v1/keys/000000000000", key=theirs), 404)
    for method, path in (("DELETE", ""), ("POST", "/rotate")):
        answer = problem(api.call(method, f"/v1/keys/{key['id']}{path}", key=theirs, json={}), 404)
        assert answer | {"request_id": ""} == unknown | {"request_id": ""}
    assert works(api, key["key"])


def test_pages_go_from_new_to_old(api: ApiCaller) -> None:
    ids = {create_key(api)["id"] for _ in range(5)}
    first = api.get("/v1/keys?limit=3")
    second = api.get(f"/v1/keys?limit=3&cursor={first['next_cursor']}")
    items = first["items"] + second["items"]
    assert second["next_cursor"] is None
    assert {each["id"] for each in items} == ids
    assert [each["created_at"] for each in items] == sorted((each["created_at"] for each in items), reverse=True)
