"""/v1/events: a tenant's events in order, with long polling and as a stream."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.api.app import create_app
from app.api.endpoints.events import event_stream
from app.api.middleware.long_poll_limit import WaitSlots
from app.domain.access import Scope
from app.domain.job import Job, JobState
from app.formats import standard
from app.store.engine import keys
from app.store.events import BEGINNING
from tests.support.api_client import KEY, ApiCaller, problem
from tests.support.claims import claim_due
from tests.support.feed import end_jobs, event_pages, reported_jobs


def test_events_come_in_order_as_subscribers_get_them(api: ApiCaller) -> None:
    registered = api.registered(job_id="one", metadata={"room": "ops"})
    end_jobs(api, "one")
    [[event]] = event_pages(api)
    assert event == {
        "id": event["id"],
        "type": "job.succeeded",
        "timestamp": event["timestamp"],
        "data": {
            "registration_id": registered["id"],
            "project": "default",
            "job": Job("one", JobState.SUCCEEDED, status=2).as_dict(),
            "observed_at": event["timestamp"],
            "metadata": {"room": "ops"},
        },
    }
    [delivery] = api.get("/v1/deliveries")["items"]
    assert event["id"] == delivery["event_id"]
    [item] = claim_due(api.runtime.stores.deliveries_due, api.runtime.stores.clock(), 1)
    [begun] = api.runtime.stores.deliveries.begin([item], item.lease_ends)
    assert json.loads(standard.render(api.runtime.stores.deliveries.decrypt(begun)[1])) == event


def test_pages_go_on_where_they_ended(api: ApiCaller) -> None:
    jobs = [f"job-{number}" for number in range(5)]
    for job in jobs:
        api.registered(job_id=job)
        end_jobs(api, job)
    assert [[event["data"]["job"]["job_id"] for event in page] for page in event_pages(api, limit=2)] == [
        jobs[:2],
        jobs[2:4],
        jobs[4:],
    ]
    cursor = api.get("/v1/events?limit=2")["next_cursor"]
    assert reported_jobs(api, after=cursor) == jobs[2:]


def test_an_empty_answer_has_a_cursor_that_misses_nothing(api: ApiCaller) -> None:
    first = api.get("/v1/events")
    assert first["items"] == []
    api.registered(job_id="one")
    end_jobs(api, "one")
    assert reported_jobs(api, after=first["next_cursor"]) == ["one"]


def test_latest_is_what_comes_from_now_on(api: ApiCaller) -> None:
    for job in ("one", "two"):
        api.registered(job_id=job)
    end_jobs(api, "one")
    latest = api.get("/v1/events?after=latest")
    assert latest["items"] == []
    registered = api.registered(job_id="three")
    end_jobs(api, "three")
    assert reported_jobs(api, after=latest["next_cursor"]) == ["three"]
    assert registered["state"] == "watching"


def test_events_stay_when_their_registration_is_cancelled(api: ApiCaller) -> None:
    registered = api.registered(job_id=None, job_ids=["one", "two"])
    end_jobs(api, "one")
    assert api.call("DELETE", f"/v1/registrations/{registered['id']}").status_code == 204
    assert reported_jobs(api) == ["one"]
    assert api.get("/v1/deliveries")["items"][0]["state"] == "cancelled"


def test_a_group_and_a_test_are_reported_as_well(api: ApiCaller) -> None:
    api.registered(job_id="one", notify="both", verify=True)
    end_jobs(api, "one")
    assert [event["type"] for page in event_pages(api) for event in page] == [
        "callback.test",
        "job.succeeded",
        "group.finished",
    ]


def test_events_are_a_tenants_own(api: ApiCaller) -> None:
    api.registered(job_id="one")
    end_jobs(api, "one")
    theirs = api.runtime.stores.api_keys.create(
        "acme", frozenset({Scope.REGISTRATIONS_READ}), api.runtime.stores.clock()
    )
    assert api.get("/v1/events", key=theirs)["items"] == []


def test_what_is_not_kept_any_more_is_left_out_and_passed(api: ApiCaller) -> None:
    for job in ("one", "two"):
        api.registered(job_id=job)
    end_jobs(api, "one", "two")
    [first, second] = api.get("/v1/deliveries")["items"]
    api.runtime.stores.redis.delete(keys.delivery(first["id"]))
    assert reported_jobs(api, limit=1) == [second["job_id"]]


def test_the_feed_is_forgotten_with_the_rest(api: ApiCaller) -> None:
    api.registered(job_id="one")
    end_jobs(api, "one")
    assert 0 < api.runtime.stores.redis.ttl(keys.feed("default")) <= api.runtime.settings.retention.total_seconds()


def test_a_hundred_thousand_events_take_little_room(api: ApiCaller) -> None:
    """An entry of the feed is a delivery's id alone: it repeats nothing that the delivery contains."""
    redis = api.runtime.stores.redis
    pipeline = redis.pipeline(transaction=False)
    for number in range(10_000):
        pipeline.xadd(keys.feed("default"), {"d": f"{number:026d}"})
    pipeline.execute()
    assert redis.memory_usage(keys.feed("default"), samples=0) / 10_000 < 60


BEYOND = urlsafe_b64encode(b"1-18446744073709551616").decode()


@pytest.mark.parametrize("after", ["", "x", "1-1", "====", "bGF0ZXN0", BEYOND])
def test_a_cursor_of_another_kind_is_refused(api: ApiCaller, after: str) -> None:
    for path in (f"/v1/events?after={after}", f"/v1/events/stream?after={after}"):
        assert problem(api.call("GET", path), 422)["errors"][0]["pointer"] == "/query/after"
    answer = api.call("GET", "/v1/events/stream", headers={"Last-Event-ID": after or "?"})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/headers/Last-Event-ID"


# Long polling.


def test_an_answer_waits_until_there_is_an_event(api: ApiCaller) -> None:
    api.registered(job_id="one")
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(api.get("/v1/events?wait_s=30")))
    began = time.monotonic()
    waiting.start()
    end_jobs(api, "one")
    waiting.join()
    assert time.monotonic() - began < 20
    assert [event["type"] for event in answers[0]["items"]] == ["job.succeeded"]


def test_an_answer_waits_no_longer_than_was_asked(api: ApiCaller) -> None:
    began = time.monotonic()
    assert api.get("/v1/events?wait_s=1")["items"] == []
    assert 1 <= time.monotonic() - began < 5


def test_a_registration_is_waited_for_until_it_is_finished(api: ApiCaller) -> None:
    registered = api.registered(job_id="one")
    path = f"/v1/registrations/{registered['id']}"
    began = time.monotonic()
    assert api.get(f"{path}?wait_s=1")["state"] == "watching"
    assert time.monotonic() - began >= 1
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(api.get(f"{path}?wait_s=60")))
    waiting.start()
    end_jobs(api, "one")
    waiting.join(timeout=20)
    assert answers[0]["state"] == "finished"
    assert api.get(f"{path}?wait_s=60")["state"] == "finished"


@pytest.mark.parametrize("path", ["/v1/events?", "/v1/registrations/reg_00000000000000000000000000?"])
@pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5", ""])
def test_a_wait_is_bounded(api: ApiCaller, path: str, wait: str) -> None:
    assert problem(api.call("GET", f"{path}wait_s={wait}"), 422)["errors"][0]["pointer"] == "/query/wait_s"


def test_waiting_for_what_another_tenant_has_does_not_reveal_that_it_is_there(api: ApiCaller) -> None:
    registered = api.registered(job_id="one")
    theirs = api.runtime.stores.api_keys.create(
        "acme", frozenset({Scope.REGISTRATIONS_READ}), api.runtime.stores.clock()
    )
    began = time.monotonic()
    problem(api.call("GET", f"/v1/registrations/{registered['id']}?wait_s=30", key=theirs), 404)
    assert time.monotonic() - began < 5


# Streaming.


def messages(answer: TestResponse) -> Iterator[dict[str, str]]:
    """The fields of each message; comments and the retry line are skipped."""
    for chunk in answer.response:
        fields = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if line and line[0] != ":")
        if "data" in fields:
            yield fields


def test_a_stream_reports_what_was_and_what_comes(api: ApiCaller, stream: Callable[..., TestResponse]) -> None:
    api.registered(job_id="one")
    end_jobs(api, "one")
    answer = stream()
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    received = messages(answer)
    first = next(received)
    assert first["event"] == "job.succeeded"
    assert [json.loads(first["data"])] == api.get("/v1/events")["items"]
    api.registered(job_id="two")
    end_jobs(api, "two")
    assert json.loads(next(received)["data"])["data"]["job"]["job_id"] == "two"


def test_a_stream_goes_on_where_it_broke_off(api: ApiCaller, stream: Callable[..., TestResponse]) -> None:
    for job in ("one", "two", "three"):
        api.registered(job_id=job)
        end_jobs(api, job)
    [first] = islice(messages(stream()), 1)
    rest = islice(messages(stream(**{"Last-Event-ID": first["id"]})), 2)
    assert [json.loads(each["data"])["data"]["job"]["job_id"] for each in rest] == ["two", "three"]
    assert reported_jobs(api, after=first["id"]) == ["two", "three"]


def test_a_stream_without_events_sends_heartbeats(api: ApiCaller) -> None:
    slots = WaitSlots(1, stopping=lambda: False)
    often = timedelta(seconds=1)
    chunks = event_stream(
        api.runtime.stores.events, slots, "default", BEGINNING, key_is_valid=lambda: True, heartbeat=often
    )
    assert list(islice(chunks, 3)) == [b"retry: 2000\n\n", b": heartbeat\n\n", b": heartbeat\n\n"]


def test_a_process_that_ends_keeps_nobody_waiting(api: ApiCaller) -> None:
    ending = create_app(api.runtime, stopping=lambda: True).test_client()
    headers = {"Authorization": f"Bearer {KEY}"}
    began = time.monotonic()
    assert ending.get("/v1/events?wait_s=60", headers=headers).json["items"] == []
    assert ending.get("/v1/events/stream", headers=headers).data == b"retry: 2000\n\n"
    assert time.monotonic() - began < 5


def test_there_are_only_so_many_wait_slots(api: ApiCaller, stream: Callable[..., TestResponse]) -> None:
    """One tenant gets 12 of 16 slots; the other 4 are reserved for tenants that hold none."""
    streams = [stream() for _ in range(12)]
    for refused in (stream(), api.call("GET", "/v1/events?wait_s=30")):
        problem(refused, 503)
        assert int(refused.headers["Retry-After"]) > 0
    assert api.get("/v1/events")["items"] == []
    key = api.runtime.stores.api_keys.create("acme", frozenset({Scope.REGISTRATIONS_READ}), api.runtime.stores.clock())
    assert stream(Authorization=f"Bearer {key}").status_code == 200
    streams[0].close()
    assert stream().status_code == 503  # acme holds one of the reserved slots
    streams[1].close()
    assert stream().status_code == 200


def test_a_wait_slot_is_released_once() -> None:
    slots = WaitSlots(4, stopping=lambda: False)
    first = slots.acquire("a")
    first()
    first()
    for _ in range(3):
        slots.acquire("a")
    with pytest.raises(Exception, match="503"):
        slots.acquire("a")
    slots.acquire("b")
