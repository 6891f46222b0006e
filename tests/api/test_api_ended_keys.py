"""Calls that wait end when their key does, although another process has revoked it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from app.bootstrap.stores import Stores
from app.domain.access import Scope
from app.store.api_keys import key_id
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.feed import end_jobs

SCOPES = frozenset({Scope.REGISTRATIONS_READ, Scope.REGISTRATIONS_WRITE})
SOON_S = 3.0  # one second, and time for a busy machine
WAITING_CALLS = [("GET", "/v1/events?wait_s=60"), ("GET", "/v1/registrations/{id}?wait_s=60")]


def create_key(api: ApiCaller, life: timedelta | None = None) -> str:
    return api.runtime.stores.api_keys.create("acme", SCOPES, api.runtime.stores.clock(), life)


def revoke_elsewhere(api: ApiCaller, key: str) -> None:
    """Revokes the key in another process, which does not empty our cache."""
    stores = Stores(api.runtime.settings)
    assert stores.api_keys.revoke(key_id(key))
    stores.redis.close()


def end_while_waiting(api: ApiCaller, key: str, call: tuple[str, str], end: Callable[[], None]) -> None:
    """Makes the call, ends the key, and expects a 401 soon after."""
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(api.call, *call, key=key)
        time.sleep(0.3)  # it waits by then; a 401 that comes earlier is right too
        end()
        ended = time.monotonic()
        problem(waiting.result(), 401)
    assert time.monotonic() - ended < SOON_S


@pytest.mark.parametrize("call", WAITING_CALLS)
def test_a_call_that_waits_ends_with_its_revoked_key(api: ApiCaller, call: tuple[str, str]) -> None:
    key = create_key(api)
    id = api.register(key=key).json["id"]
    end_while_waiting(api, key, (call[0], call[1].format(id=id)), lambda: revoke_elsewhere(api, key))


@pytest.mark.parametrize("call", WAITING_CALLS)
def test_a_call_that_waits_ends_with_its_expired_key(api: ApiCaller, call: tuple[str, str]) -> None:
    key = create_key(api, timedelta(seconds=1))
    id = api.register(key=key).json["id"]
    end_while_waiting(api, key, (call[0], call[1].format(id=id)), lambda: None)


def test_a_cancellation_that_waits_ends_with_its_key_and_holds(api: ApiCaller) -> None:
    key, stores = create_key(api), api.runtime.stores
    id = api.register(key=key, job_id="one").json["id"]
    end_jobs(api, "one")
    claimed = claim_due(stores.deliveries_due, stores.clock(), 1)
    stores.deliveries.begin(claimed, stores.clock() + timedelta(seconds=30))
    end_while_waiting(api, key, ("DELETE", f"/v1/registrations/{id}"), lambda: revoke_elsewhere(api, key))
    assert api.get(f"/v1/registrations/{id}", key=create_key(api))["state"] == "cancelled"


def test_a_stream_ends_with_its_key(api: ApiCaller, stream: Callable[..., TestResponse]) -> None:
    key = create_key(api)
    answer = stream(Authorization=f"Bearer {key}")
    assert next(iter(answer.response)).startswith(b"retry: ")
    revoke_elsewhere(api, key)
    ended = time.monotonic()
    assert list(answer.response) == []
    assert time.monotonic() - ended < SOON_S


def test_a_key_that_stays_valid_keeps_its_calls_waiting(api: ApiCaller) -> None:
    key = create_key(api)
    api.register(key=key, job_id="one")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(api.call, "GET", "/v1/events?wait_s=60", key=key)
        time.sleep(1.5)  # the key has been looked up again
        end_jobs(api, "one")
        assert len(waiting.result().json["items"]) == 1
