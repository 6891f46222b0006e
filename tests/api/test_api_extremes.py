"""The least, the greatest and the oddest values of whatever reaches Redis or the calendar: never a 500."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from werkzeug.test import TestResponse

from app.api.schemas.fields import MAX_STREAM_ID_PART
from tests.support.api_client import ApiCaller, problem
from tests.support.feed import end_jobs

LAST = f"{MAX_STREAM_ID_PART}-{MAX_STREAM_ID_PART}"
STREAM_IDS = [
    LAST,
    f"{MAX_STREAM_ID_PART}-{MAX_STREAM_ID_PART - 1}",
    f"{MAX_STREAM_ID_PART}-0",
    f"0-{MAX_STREAM_ID_PART}",
    f"{MAX_STREAM_ID_PART + 1}-0",
    f"{'9' * 20}-0",
    f"{'0' * 20}-{'0' * 20}",
    "0-0",
    "-1-1",
]
LIST_CURSORS = [
    *(f"reg_{digit * 26}" for digit in "0z"),
    *(f"{number * 13}:dlv_{digit * 26}" for number, digit in ("00", "9z")),
    *(f"{number * 13}:{digit * 12}" for number, digit in ("00", "9f")),
    "http://" + "a" * 2_000,
    "https://~",
    "0-0\n",
    "\0",
    "",
]
CURSORS = [
    *(urlsafe_b64encode(cursor.encode()).decode() for cursor in STREAM_IDS + LIST_CURSORS),
    *("", "latest", "=", "%", "ä", "A" * 2_000),
]
TIMES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-23:59",
    "1969-12-31T23:59:59Z",
    "2026-06-30T23:59:60Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:00+24:00",
    "0000-01-01T00:00:00Z",
    "",
]
NUMBERS = ["0", "1", "200", "201", "-1", "999999999", "1000000000", "9" * 30, "1e3", "1.5", "٣", ""]
TEXTS = ["", "\0", "\n", "ä", "😀", "x" * 2_000, "*", "[a", f"reg_{'z' * 26}", ".."]
VALUES = {"cursor": CURSORS, "after": CURSORS, "since": TIMES, "until": TIMES, "limit": NUMBERS, "wait_s": []}


def not_failed(answer: TestResponse) -> None:
    with answer:
        assert answer.status_code < 500, (answer.request.url, answer.text)


@pytest.fixture
def used_api(api: ApiCaller) -> ApiCaller:
    """One item is in every list."""
    api.registered(job_id="one", verify=True)
    end_jobs(api, "one")
    assert api.call("POST", "/v1/keys", json={}).status_code == 201
    return api


def query_parameters(document: Any) -> Iterator[tuple[str, str]]:
    """Yields path and name of each query parameter of the operations that read."""
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                yield path, parameter["name"]


def test_no_value_in_a_query_is_too_much(used_api: ApiCaller) -> None:
    id = used_api.get("/v1/registrations")["items"][0]["id"]
    parameters = list(query_parameters(used_api.get("/openapi.json")))
    assert ("/v1/events", "after") in parameters
    for path, name in parameters:
        for value in VALUES.get(name, TEXTS):
            not_failed(used_api.call("GET", f"{path.replace('{id}', id)}?{urlencode({name: value})}"))


def test_no_pair_of_times_is_too_much(used_api: ApiCaller) -> None:
    for since in TIMES:
        for until in TIMES:
            not_failed(used_api.call("GET", f"/v1/deliveries?{urlencode({'since': since, 'until': until})}"))
        for times in ({"since": since}, {"until": since}):
            not_failed(used_api.call("POST", "/v1/deliveries/redeliver", json={"state": "dead"} | times))


def test_no_last_event_id_is_too_much(used_api: ApiCaller) -> None:
    for cursor in filter(str.isascii, CURSORS):
        not_failed(used_api.call("GET", "/v1/events/stream", headers={"Last-Event-ID": cursor}))


def test_nothing_follows_the_last_id_that_a_feed_can_have(api: ApiCaller) -> None:
    cursor = quote(urlsafe_b64encode(LAST.encode()).decode())
    for path in ("/v1/events", "/v1/events/stream"):
        assert problem(api.call("GET", f"{path}?after={cursor}"), 422)["errors"][0]["pointer"] == "/query/after"


DURATIONS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("/v1/keys", "expires_in_s", lambda value: {"expires_in_s": value}),
    ("/v1/registrations", "deadline_s", lambda value: {"job_id": "two", "deadline_s": value}),
    ("/v1/registrations/{id}/rotate-secret", "overlap_s", lambda value: {"overlap_s": value}),
]


@pytest.mark.parametrize(("path", "name", "body"), DURATIONS, ids=[name for _, name, _ in DURATIONS])
def test_no_duration_is_too_long(used_api: ApiCaller, path: str, name: str, body: Callable[[Any], Any]) -> None:
    id = used_api.get("/v1/registrations")["items"][0]["id"]
    for value in (0, 1, -1, 10**9, 2**63, 10**30, 1.5, True, None, "1"):
        not_failed(used_api.call("POST", path.replace("{id}", id), json=body(value)))
