"""Metrics of the processes of production: complete and correct after a load, and right when something fails."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.devkit.processes import wait_until
from app.observability.metric_definitions import ALL, CLOCK_AHEAD, DATA_LOST, POLLS, MetricKind, MetricSource
from app.store.engine import keys
from tests.support.receiver import Receiver
from tests.whole.conftest import Deployment

PROCESSES = ("api", "worker-poll", "worker-deliver")
COUNTED_BY = {MetricSource.API: "api", MetricSource.POLL: "worker-poll", MetricSource.DELIVER: "worker-deliver"}
JOBS_OF_REQUEST, SINGLE_JOBS = 30, 10


def samples(deployment: Deployment, process: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(deployment.metrics_of(process)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(deployment: Deployment, process: str, name: str, **labels: str) -> float:
    """The sum of all samples with these labels."""
    found = samples(deployment, process).get(f"cph_bridge_{name}", [])
    return sum(number for sample_labels, number in found if labels.items() <= sample_labels.items())


def create_registrations(deployment: Deployment, gone: Receiver) -> list[dict[str, Any]]:
    """Registers for the jobs of a request, single jobs, an unknown job, and a job whose URL is gone.

    Returns the changes that end the jobs of the request. The test sends them to the stand-in.
    """
    running = [{"request_id": "f" * 32, "duration_s": 3600}] * JOBS_OF_REQUEST
    batch = deployment.standin.call("POST", "/_standin/jobs", running)["jobs"]
    deployment.register(None, job_ids=[job["job_id"] for job in batch])
    for _ in range(SINGLE_JOBS):
        deployment.register(deployment.job(duration_s=1))
    deployment.register("nobody-knows-me")
    deployment.register(deployment.job(), callback_url=gone.url)
    return [{"job_id": job["job_id"], "request_id": "f" * 32, "duration_s": 0} for job in batch]


@pytest.mark.slow
def test_after_a_load_every_metric_is_there_and_sums_agree_with_what_others_saw(deployment: Deployment) -> None:
    calls_before = deployment.calls()
    registered_before = value(deployment, "api", "registrations_total")
    deployment.standin.call("POST", "/_standin/faults", {"kind": "unknown_status", "times": 1})
    deployment.start_worker("poll")
    deployment.start_worker("deliver")
    with Receiver() as gone:
        gone.statuses = [(410, {})]
        deployment.receiver.statuses = [(500, {})] * 3
        endings = create_registrations(deployment, gone)
        saved = partial(value, deployment, "worker-poll", "calls_saved_total")
        wait_until(saved, what="the jobs of the request are polled with ListJobs")
        deployment.standin.call("POST", "/_standin/jobs", endings)
        deployment.receiver.wait_for(JOBS_OF_REQUEST + SINGLE_JOBS + 1)
        delivered = partial(value, deployment, "worker-deliver", "attempts_total", verdict="delivered")
        wait_until(lambda: delivered() == JOBS_OF_REQUEST + SINGLE_JOBS + 1, what="all are delivered")
        sent = len(deployment.receiver.callbacks) + len(gone.callbacks)
    wait_until(lambda: not value(deployment, "api", "registrations_watching"), what="all are finished")
    shown = {process: samples(deployment, process) for process in PROCESSES}

    for each in set(ALL) - {CLOCK_AHEAD, DATA_LOST}:  # shown only when something is wrong
        name = each.full_name + ("_count" if each.kind is MetricKind.HISTOGRAM else "")
        for process in [COUNTED_BY[each.source]] if each.source in COUNTED_BY else PROCESSES:
            assert shown[process].get(name), f"{process} does not show {name}"
    assert value(deployment, "worker-deliver", "attempts_total") == sent
    assert value(deployment, "worker-deliver", "attempts_total", verdict="retry") == 3
    assert value(deployment, "worker-deliver", "attempt_duration_seconds_count") == sent
    assert value(deployment, "worker-deliver", "delivered_after_seconds_count") == JOBS_OF_REQUEST + SINGLE_JOBS + 1
    assert value(deployment, "worker-deliver", "deaths_total", reason="gone") == 1
    assert value(deployment, "worker-poll", POLLS.name) == deployment.calls() - calls_before
    assert value(deployment, "worker-poll", "jobs_ended_total", state="succeeded") == JOBS_OF_REQUEST + SINGLE_JOBS + 1
    assert value(deployment, "worker-poll", "jobs_ended_total", state="lost") == 1
    assert value(deployment, "worker-poll", "unknown_statuses_total") == 1
    assert value(deployment, "api", "registrations_total") - registered_before == SINGLE_JOBS + 3
    for process in PROCESSES:
        assert value(deployment, process, "deliveries", state="dead") == 1
        assert value(deployment, process, "deliveries", state="pending") == 0
        assert value(deployment, process, "watches") == 0


def wait_for_value(deployment: Deployment, name: str, is_expected: Callable[[float], bool], **labels: str) -> None:
    """Waits for a value of the API's metrics, as the API always runs."""
    wait_until(lambda: is_expected(value(deployment, "api", name, **labels)), what=f"{name} {labels}")


@pytest.mark.slow
def test_without_workers_what_is_due_is_late_and_nobody_is_there(deployment: Deployment) -> None:
    """Alerts: BridgeNoWorker, BridgePollsLate, BridgeNobodyPolls; then BridgeDeliveriesLate."""
    deployment.register(deployment.job())
    wait_for_value(deployment, "polls_late_seconds", lambda late: late > 1)
    wait_for_value(deployment, "workers", lambda count: count == 0)
    assert value(deployment, "api", "registrations_watching") == 1
    assert value(deployment, "api", "due", agenda="poll") == 1
    deployment.start_worker("poll")
    wait_for_value(deployment, "deliveries_late_seconds", lambda late: late > 1)
    assert value(deployment, "api", "due", agenda="deliver") == 1
    assert value(deployment, "api", "workers", kind="poll") == 1
    deployment.start_worker("deliver")
    wait_for_value(deployment, "deliveries_late_seconds", lambda late: late == 0)
    wait_for_value(deployment, "due", lambda count: count == 0)


@pytest.mark.slow
def test_a_cloud_that_refuses_us_is_reported(deployment: Deployment) -> None:
    """Alert: BridgeCphRefuses."""
    deployment.standin.call("POST", "/_standin/faults", {"kind": "forbidden", "for_s": 3_600})
    deployment.start_worker("poll")
    deployment.register(deployment.job())
    try:
        wait_for_value(deployment, "project_refused", lambda refused: refused == 1)
        assert value(deployment, "api", "polls_late_seconds") == 0
        refused_polls = partial(value, deployment, "worker-poll", "polls_total", outcome="refused")
        assert refused_polls() >= 1
    finally:
        deployment.standin.call("DELETE", "/_standin/faults")


@pytest.mark.slow
def test_receivers_that_fail_for_days_are_reported(deployment: Deployment) -> None:
    """Alerts: BridgeDestinationDisabled, BridgeDeadGrow. The test sets the start of the failures."""
    deployment.receiver.fail(401)
    deployment.start_worker("poll")
    deployment.start_worker("deliver")
    deployment.register(deployment.job())
    wait_for_value(deployment, "deliveries", lambda dead: dead == 1, state="dead")
    assert value(deployment, "worker-deliver", "deaths_total", reason="refused") == 1
    deployment.receiver.fail(500)
    deployment.register(deployment.job())
    (lane,) = deployment.redis.scan_iter("cph:deliver:lane:*")
    wait_until(lambda: deployment.redis.hget(lane, "failing_since"), what="a failure")
    deployment.redis.hset(lane, "failing_since", 1)
    for _ in range(5):
        deployment.register(deployment.job())
    wait_for_value(deployment, "destinations", lambda count: count == 1, state="disabled")
    wait_for_value(deployment, "deliveries", lambda on_hold: on_hold >= 1, state="held")
    deployment.receiver.heal()
    (destination,) = deployment.bridge.call("GET", "/v1/destinations")["items"]
    deployment.bridge.call("POST", f"/v1/destinations/{destination['id']}/resume", {})
    wait_for_value(deployment, "deliveries", lambda on_hold: on_hold == 0, state="held")
    wait_for_value(deployment, "destinations", lambda count: count == 0)
    assert not deployment.redis.exists(keys.lanes_in_state("failing"))


@contextmanager
def frozen_redis(deployment: Deployment) -> Iterator[None]:
    pid = deployment.redis.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_redis_that_is_full_or_unavailable_is_reported_and_so_is_an_api_that_fails(deployment: Deployment) -> None:
    """Alerts: BridgeRedisNearlyFull, BridgeRedisAway, BridgeApiFails."""
    maxmemory = deployment.redis.info("memory")["used_memory"] * 2
    deployment.redis.config_set("maxmemory", maxmemory)
    try:
        assert value(deployment, "api", "redis_memory_max_bytes") == maxmemory
        assert value(deployment, "api", "redis_memory_used_bytes") / maxmemory > 0.4
    finally:
        deployment.redis.config_set("maxmemory", 0)
    with frozen_redis(deployment):
        assert value(deployment, "api", "redis_up") == 0
        with pytest.raises(Exception, match="503"):
            deployment.bridge.call("GET", "/v1/registrations")
        assert value(deployment, "api", "api_request_duration_seconds_count", status="503") >= 1
    assert value(deployment, "api", "redis_up") == 1


def test_made_up_routes_and_methods_are_no_labels(deployment: Deployment) -> None:
    for path in ("/v1/nothing-s3cret", "/wp-login.php"):
        with pytest.raises(Exception, match="40"):
            deployment.bridge.call("GET", path)
    with pytest.raises(Exception, match="40"):
        deployment.bridge.call("BREW", "/readyz")
    routes: set[Any] = {
        (labels["method"], labels["route"])
        for labels, _ in samples(deployment, "api")["cph_bridge_api_request_duration_seconds_count"]
    }
    assert ("GET", "none") in routes
    assert {method for method, _ in routes} <= {"GET", "POST", "DELETE", "other"}
    assert not [route for _, route in routes if "s3cret" in route or "wp-login" in route]
