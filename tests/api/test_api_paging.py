"""Pages neither skip nor repeat items, whatever changes between them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.api_client import ApiCaller

REFUSED = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
Change = tuple[str, int]


def register(api: ApiCaller, number: int) -> None:
    """Creates a registration with a due delivery. The destination is one of seven, so some are used again."""
    api.registered(job_id=None, submission=REFUSED, callback_url=f"http://127.0.0.1:{1000 + number % 7}/")


def cancel(api: ApiCaller, number: int) -> None:
    found = api.get("/v1/registrations?limit=200")["items"]
    if found:
        api.call("DELETE", f"/v1/registrations/{found[number % len(found)]['id']}")


def make_key(api: ApiCaller, number: int) -> None:
    api.call("POST", "/v1/keys", json={"name": str(number)})


def revoke_key(api: ApiCaller, number: int) -> None:
    found = api.get("/v1/keys?limit=200")["items"]
    if found:
        api.call("DELETE", f"/v1/keys/{found[number % len(found)]['id']}")


def redeliver(api: ApiCaller, number: int) -> None:
    found = api.get("/v1/deliveries?limit=200")["items"]
    if found:
        api.call("POST", f"/v1/deliveries/{found[number % len(found)]['id']}/redeliver")


CHANGES: dict[str, Callable[[ApiCaller, int], None]] = {
    "register": register,
    "cancel": cancel,
    "make_key": make_key,
    "revoke_key": revoke_key,
    "redeliver": redeliver,
}
changes = st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 50)), max_size=4)


def all_ids(api: ApiCaller, path: str) -> set[str]:
    return {each["id"] for each in api.get(f"{path}?limit=200")["items"]}


@pytest.mark.parametrize("path", ["/v1/registrations", "/v1/deliveries", "/v1/destinations", "/v1/keys"])
@given(first=st.integers(0, 8), limit=st.integers(1, 4), between=st.lists(changes, max_size=6))
@hypothesis_settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_there_all_the_while_is_seen_once(
    api: ApiCaller, path: str, first: int, limit: int, between: list[list[Change]]
) -> None:
    api.runtime.stores.redis.flushall()
    for number in range(first):
        (make_key if path == "/v1/keys" else register)(api, number)
    steps = iter(between)
    throughout, seen, cursor = all_ids(api, path), [], ""
    while cursor is not None:
        page: Any = api.get(f"{path}?limit={limit}{cursor and '&cursor=' + cursor}")
        seen += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"]
        for name, number in next(steps, []):
            CHANGES[name](api, number)
        throughout &= all_ids(api, path)
    assert len(set(seen)) == len(seen)
    assert throughout <= set(seen)


@given(between=st.lists(st.integers(0, 3), min_size=1, max_size=8), limit=st.integers(1, 3))
@hypothesis_settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whoever_follows_the_feed_sees_every_event_once_and_in_order(
    api: ApiCaller, between: list[int], limit: int
) -> None:
    """New events arrive between the pages, some within the same millisecond."""
    api.runtime.stores.redis.flushall()
    made, seen, cursor = [], [], ""
    for count in [*between, *([0] * 30)]:
        for number in range(count):
            made.append(api.registered(job_id=None, submission=REFUSED)["id"])
            if number % 2:
                cancel(api, number)
        page = api.get(f"/v1/events?limit={limit}{cursor and '&after=' + cursor}")
        seen += [event["data"]["registration_id"] for event in page["items"]]
        cursor = page["next_cursor"]
    assert seen == made
