"""Metrics of the processes of production: all there after a load, true by what others saw, and signs of trouble."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.devkit.processes import wait_until
from app.observability.metric_definitions import ALL, POLLS, MetricKind, MetricSource
from app.store.engine import keys
from tests.support.receiver import Receiver
from tests.whole.conftest import Whole

PROCESSES = ("api", "worker-poll", "worker-deliver")
COUNTED_BY = {MetricSource.API: "api", MetricSource.POLL: "worker-poll", MetricSource.DELIVER: "worker-deliver"}
BATCH, ALONE = 30, 10


def samples(whole: Whole, process: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(whole.metrics_of(process)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(whole: Whole, process: str, name: str, **labels: str) -> float:
    """Of all samples with these labels together."""
    found = samples(whole, process).get(f"cph_bridge_{name}", [])
    return sum(number for its, number in found if labels.items() <= its.items())


def made_registrations(whole: Whole, gone: Receiver) -> list[dict[str, Any]]:
    """One of each kind: many of a request, single ones, one that nobody knows, and one whose URL is gone.

    What ends the many is for the test to give to the stand-in.
    """
    running = [{"request_id": "f" * 32, "duration_s": 3600}] * BATCH
    batch = whole.standin.call("POST", "/_standin/jobs", running)["jobs"]
    whole.register(None, job_ids=[job["job_id"] for job in batch])
    for _ in range(ALONE):
        whole.register(whole.job(duration_s=1))
    whole.register("nobody-knows-me")
    whole.register(whole.job(), callback_url=gone.url)
    return [{"job_id": job["job_id"], "request_id": "f" * 32, "duration_s": 0} for job in batch]


@pytest.mark.slow
def test_after_a_load_every_metric_is_there_and_sums_agree_with_what_others_saw(whole: Whole) -> None:
    calls_before = whole.calls()
    registered_before = value(whole, "api", "registrations_total")
    whole.standin.call("POST", "/_standin/faults", {"kind": "unknown_status", "times": 1})
    whole.start_worker("poll")
    whole.start_worker("deliver")
    with Receiver() as gone:
        gone.statuses = [(410, {})]
        whole.receiver.statuses = [(500, {})] * 3
        ends = made_registrations(whole, gone)
        saved = partial(value, whole, "worker-poll", "calls_saved_total")
        wait_until(saved, what="the many are asked for together")
        whole.standin.call("POST", "/_standin/jobs", ends)
        whole.receiver.wait_for(BATCH + ALONE + 1)
        delivered = partial(value, whole, "worker-deliver", "attempts_total", verdict="delivered")
        wait_until(lambda: delivered() == BATCH + ALONE + 1, what="all are delivered")
        sent = len(whole.receiver.callbacks) + len(gone.callbacks)
    wait_until(lambda: not value(whole, "api", "registrations_watching"), what="all are finished")
    shown = {process: samples(whole, process) for process in PROCESSES}

    for each in ALL:
        name = each.full_name + ("_count" if each.kind is MetricKind.HISTOGRAM else "")
        for process in [COUNTED_BY[each.source]] if each.source in COUNTED_BY else PROCESSES:
            assert shown[process].get(name), f"{process} does not show {name}"
    assert value(whole, "worker-deliver", "attempts_total") == sent
    assert value(whole, "worker-deliver", "attempts_total", verdict="retry") == 3
    assert value(whole, "worker-deliver", "attempt_duration_seconds_count") == sent
    assert value(whole, "worker-deliver", "delivered_after_seconds_count") == BATCH + ALONE + 1
    assert value(whole, "worker-deliver", "deaths_total", reason="gone") == 1
    assert value(whole, "worker-poll", POLLS.name) == whole.calls() - calls_before
    assert value(whole, "worker-poll", "jobs_ended_total", state="succeeded") == BATCH + ALONE + 1
    assert value(whole, "worker-poll", "jobs_ended_total", state="lost") == 1
    assert value(whole, "worker-poll", "unknown_statuses_total") == 1
    assert value(whole, "api", "registrations_total") - registered_before == ALONE + 3
    for process in PROCESSES:
        assert value(whole, process, "deliveries", state="dead") == 1
        assert value(whole, process, "deliveries", state="pending") == 0
        assert value(whole, process, "watches") == 0


def seen(whole: Whole, name: str, holds: Callable[[float], bool], **labels: str) -> None:
    """At the API, which is there whoever else is not."""
    wait_until(lambda: holds(value(whole, "api", name, **labels)), what=f"{name} {labels}")


@pytest.mark.slow
def test_without_workers_what_is_due_is_late_and_nobody_is_there(whole: Whole) -> None:
    """BridgeNoWorker, BridgePollsLate, BridgeNobodyPolls; then BridgeDeliveriesLate."""
    whole.register(whole.job())
    seen(whole, "polls_late_seconds", lambda late: late > 1)
    seen(whole, "workers", lambda count: count == 0)
    assert value(whole, "api", "registrations_watching") == 1
    assert value(whole, "api", "due", agenda="poll") == 1
    whole.start_worker("poll")
    seen(whole, "deliveries_late_seconds", lambda late: late > 1)
    assert value(whole, "api", "due", agenda="deliver") == 1
    assert value(whole, "api", "workers", kind="poll") == 1
    whole.start_worker("deliver")
    seen(whole, "deliveries_late_seconds", lambda late: late == 0)
    seen(whole, "due", lambda count: count == 0)


@pytest.mark.slow
def test_a_cloud_that_refuses_us_is_told_and_that_it_does_so_no_more(whole: Whole) -> None:
    """BridgeCphRefuses."""
    whole.standin.call("POST", "/_standin/faults", {"kind": "forbidden", "for_s": 3_600})
    whole.start_worker("poll")
    whole.register(whole.job())
    try:
        seen(whole, "project_refused", lambda refused: refused == 1)
        assert value(whole, "api", "polls_late_seconds") == 0
        seen_by_worker = partial(value, whole, "worker-poll", "polls_total", outcome="refused")
        assert seen_by_worker() >= 1
    finally:
        whole.standin.call("DELETE", "/_standin/faults")


@pytest.mark.slow
def test_receivers_that_fail_for_days_are_told(whole: Whole) -> None:
    """BridgeDestinationDisabled, BridgeDeadGrow: the five days are made by hand."""
    whole.receiver.fail(401)
    whole.start_worker("poll")
    whole.start_worker("deliver")
    whole.register(whole.job())
    seen(whole, "deliveries", lambda dead: dead == 1, state="dead")
    assert value(whole, "worker-deliver", "deaths_total", reason="refused") == 1
    whole.receiver.fail(500)
    whole.register(whole.job())
    (lane,) = whole.redis.scan_iter("cph:deliver:lane:*")
    wait_until(lambda: whole.redis.hget(lane, "failing_since"), what="a failure")
    whole.redis.hset(lane, "failing_since", 1)
    for _ in range(5):
        whole.register(whole.job())
    seen(whole, "destinations", lambda count: count == 1, state="disabled")
    seen(whole, "deliveries", lambda held: held >= 1, state="held")
    whole.receiver.heal()
    (destination,) = whole.bridge.call("GET", "/v1/destinations")["items"]
    whole.bridge.call("POST", f"/v1/destinations/{destination['id']}/resume", {})
    seen(whole, "deliveries", lambda held: held == 0, state="held")
    seen(whole, "destinations", lambda count: count == 0)
    assert not whole.redis.exists(keys.lanes_that_are("failing"))


@contextmanager
def silent_redis(whole: Whole) -> Iterator[None]:
    pid = whole.redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_redis_that_is_full_or_away_is_told_and_so_is_an_api_that_fails(whole: Whole) -> None:
    """BridgeRedisNearlyFull, BridgeRedisAway, BridgeApiFails."""
    most = whole.redis.info("memory")["used_memory"] * 2
    whole.redis.config_set("maxmemory", most)
    try:
        assert value(whole, "api", "redis_memory_max_bytes") == most
        assert value(whole, "api", "redis_memory_used_bytes") / most > 0.4
    finally:
        whole.redis.config_set("maxmemory", 0)
    with silent_redis(whole):
        assert value(whole, "api", "redis_up") == 0
        with pytest.raises(Exception, match="503"):
            whole.bridge.call("GET", "/v1/registrations")
        assert value(whole, "api", "api_request_duration_seconds_count", status="503") >= 1
    assert value(whole, "api", "redis_up") == 1


def test_made_up_routes_and_methods_are_no_labels(whole: Whole) -> None:
    for path in ("/v1/nothing-s3cret", "/wp-login.php"):
        with pytest.raises(Exception, match="40"):
            whole.bridge.call("GET", path)
    with pytest.raises(Exception, match="40"):
        whole.bridge.call("BREW", "/readyz")
    routes: set[Any] = {
        (labels["method"], labels["route"])
        for labels, _ in samples(whole, "api")["cph_bridge_api_request_duration_seconds_count"]
    }
    assert ("GET", "none") in routes
    assert {method for method, _ in routes} <= {"GET", "POST", "DELETE", "other"}
    assert not [route for _, route in routes if "s3cret" in route or "wp-login" in route]
