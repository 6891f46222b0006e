"""The log of deliveries, and the cancellation of a registration while an attempt is in progress."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.bootstrap.stores import Stores
from app.devkit.processes import wait_until
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.times import from_ms, to_ms
from app.domain.verdict import Verdict
from app.store.deliveries import StartedAttempt
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import claim_due

SOON = timedelta(seconds=1)


def end_due_jobs(stores: Stores, state: JobState = JobState.SUCCEEDED) -> None:
    """Completes every job that is due, as a poll worker does."""
    now = stores.clock() + SOON
    for claimed in claim_due(stores.polls_due, now, 10):
        stores.scripts.run(stores.watches.complete(claimed, Job(claimed.id, state), now))


def begin_attempt(stores: Stores, permit: timedelta = timedelta(seconds=30)) -> StartedAttempt:
    """Claims one due delivery and starts an attempt, as a delivery worker does."""
    now = stores.clock() + 2 * SOON
    claimed = claim_due(stores.deliveries_due, now, 1)
    return stores.deliveries.begin(claimed, stores.clock() + permit)[0]


def record(stores: Stores, attempt: StartedAttempt, next_step: NextStep, **line: Any) -> None:
    head = {"id": f"att_{attempt.number}", "number": attempt.number, "started_at": to_ms(attempt.try_count.began)}
    verdict = Verdict(line["verdict"])
    stores.scripts.run(stores.deliveries.record(attempt.claimed, verdict, next_step, head | {"took_ms": 7} | line))


def test_what_earlier_versions_stored_is_shown_by_the_names_of_today(api: ApiCaller) -> None:
    api.registered(job_id="j1")
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores)
    record(api.runtime.stores, attempt, NextStep(DeliveryState.DEAD, death=Death.TRIES), verdict="retry", said="busy")
    api.runtime.stores.redis.hset(keys.delivery(attempt.claimed.id), "death", "dropped")
    shown = api.get(f"/v1/deliveries/{attempt.claimed.id}")
    assert (shown["reason"], shown["attempts"][0]["service_message"]) == (Death.DISCARDED.description, "busy")


def test_a_delivery_is_shown_with_its_attempts(api: ApiCaller) -> None:
    registration = api.registered(job_id="j1")
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores)
    due = from_ms(1_893_456_000_123)
    error = "connection refused"
    record(
        api.runtime.stores,
        attempt,
        NextStep(DeliveryState.PENDING, due),
        verdict="retry",
        status_code=503,
        error=error,
        response_excerpt="<html>",
        next_at=to_ms(due),
    )
    shown = api.get(f"/v1/deliveries/{attempt.claimed.id}")
    attempts = shown.pop("attempts")
    assert [shown] == api.get("/v1/deliveries")["items"]
    started = attempts[0].pop("started_at")
    assert started.endswith("Z")
    assert len(started) == len("2019-04-26T07:00:08.123Z")
    assert attempts == [
        {
            "number": 1,
            "id": "att_1",
            "took_ms": 7,
            "timings": {},
            "verdict": "retry",
            "status_code": 503,
            "error": error,
            "service_message": None,
            "digest": None,
            "fallback": None,
            "response_excerpt": "<html>",
            "next_at": "2030-01-01T00:00:00.123Z",
        }
    ]
    assert shown.pop("created_at")
    assert shown == {
        "id": attempt.claimed.id,
        "event_id": attempt.claimed.id.replace("dlv_", "evt_"),
        "type": "job.succeeded",
        "registration_id": registration["id"],
        "job_id": "j1",
        "destination": "http://127.0.0.1:9",
        "state": "pending",
        "attempt_count": 1,
        "next_at": "2030-01-01T00:00:00Z",
        "reason": None,
    }


def test_an_attempt_that_was_given_up_has_no_status_and_no_next_attempt(api: ApiCaller) -> None:
    api.registered()
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores)
    record(api.runtime.stores, attempt, NextStep(DeliveryState.DEAD), verdict="refused", error="given up")
    shown = api.get(f"/v1/deliveries/{attempt.claimed.id}")
    assert (shown["state"], shown["next_at"]) == ("dead", None)
    assert (shown["attempts"][0]["status_code"], shown["attempts"][0]["next_at"]) == (None, None)


def test_a_registration_counts_its_deliveries(api: ApiCaller) -> None:
    id = api.registered()["id"]
    end_due_jobs(api.runtime.stores, JobState.FAILED)
    shown = api.get(f"/v1/registrations/{id}")
    assert (shown["state"], shown["jobs"][0]["state"]) == ("finished", "failed")
    assert shown["deliveries"] == {"pending": 1, "delivered": 0, "dead": 0}


def test_the_log_is_filtered_and_paged(api: ApiCaller) -> None:
    registrations = [api.registered(job_id=f"j{number}")["id"] for number in range(3)]
    end_due_jobs(api.runtime.stores)
    stores = api.runtime.stores
    record(stores, begin_attempt(stores), NextStep(DeliveryState.DELIVERED), verdict="delivered")
    everything = [item["id"] for item in api.get("/v1/deliveries")["items"]]
    first = api.get("/v1/deliveries?limit=2")
    second = api.get(f"/v1/deliveries?limit=2&cursor={first['next_cursor']}")
    assert [item["id"] for item in first["items"] + second["items"]] == everything
    assert second["next_cursor"] is None
    assert [item["state"] for item in api.get("/v1/deliveries?state=delivered")["items"]] == ["delivered"]
    of_one = api.get(f"/v1/deliveries?registration_id={registrations[1]}")["items"]
    assert [item["job_id"] for item in of_one] == ["j1"]


def test_the_log_is_cut_by_time(api: ApiCaller) -> None:
    api.registered()
    end_due_jobs(api.runtime.stores)
    for query, count in {
        "since=2020-01-01T00:00:00Z": 1,
        "since=9999-01-01T00:00:00Z": 0,
        "until=2020-01-01T00:00:00.5%2B02:00": 0,
        "until=9999-12-31T23:59:59-14:00": 1,
        "since=0001-01-01T00:00:00%2B14:00": 1,
    }.items():
        assert len(api.get(f"/v1/deliveries?{query}")["items"]) == count, query


@pytest.mark.parametrize(
    "moment", ["", "yesterday", "1893456000", "2020-01-01", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z"]
)
def test_a_moment_must_be_one(api: ApiCaller, moment: str) -> None:
    answer = problem(api.call("GET", f"/v1/deliveries?since={moment}"), 422)
    assert answer["errors"][0]["pointer"] == "/query/since"


@pytest.mark.parametrize("id", ["dlv_" + "0" * 26, "dlv_x", "nothing"])
def test_an_unknown_delivery_is_answered_404(api: ApiCaller, id: str) -> None:
    problem(api.call("GET", f"/v1/deliveries/{id}"), 404)


def test_cancelling_answers_at_once_when_nothing_is_under_way(api: ApiCaller) -> None:
    id = api.registered()["id"]
    for _ in range(2):
        assert api.call("DELETE", f"/v1/registrations/{id}").status_code == 204
    assert api.get(f"/v1/registrations/{id}")["state"] == "cancelled"


def test_cancelling_waits_for_the_attempt_that_is_under_way(api: ApiCaller) -> None:
    id = api.registered()["id"]
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(api.call, "DELETE", f"/v1/registrations/{id}")
        cancelled = f"/v1/deliveries/{attempt.claimed.id}"
        wait_until(lambda: api.get(cancelled)["state"] == "cancelled", what="the cancellation")
        assert not answer.done()
        record(api.runtime.stores, attempt, NextStep(DeliveryState.DELIVERED), verdict="delivered")
        assert answer.result(timeout=5).status_code == 204


def test_cancels_that_wait_leave_threads_to_others(api: ApiCaller, stream: Callable[..., TestResponse]) -> None:
    id = api.registered()["id"]
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores)
    assert [stream().status_code for _ in range(12)] == [200] * 12  # every wait slot that a tenant may use
    answer = api.call("DELETE", f"/v1/registrations/{id}")
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert api.get(f"/v1/registrations/{id}")["state"] == "cancelled"
    record(api.runtime.stores, attempt, NextStep(DeliveryState.DELIVERED), verdict="delivered")
    assert api.call("DELETE", f"/v1/registrations/{id}").status_code == 204


def test_cancelling_waits_no_longer_than_the_attempt_may_last(api: ApiCaller) -> None:
    id = api.registered()["id"]
    end_due_jobs(api.runtime.stores)
    attempt = begin_attempt(api.runtime.stores, permit=timedelta(seconds=0.3))
    assert api.call("DELETE", f"/v1/registrations/{id}").status_code == 204
    assert api.runtime.stores.clock() >= attempt.permit_until - timedelta(milliseconds=1)
