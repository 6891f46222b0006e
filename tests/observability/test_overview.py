"""Metrics read from Redis: correct, of bounded cost, and with a timeout when Redis is unavailable."""

import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from time import monotonic

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rq import Worker

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.destination import lane_of
from app.domain.job import Job, JobState
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.store.agenda import DELIVER, POLL
from app.store.deployment_stats import LANE_LIMIT, DeploymentStats, DeploymentStatsReader
from app.store.engine import keys
from tests.support.claims import claim_due
from workers.rq_queues import enqueue_drain, queue

SECOND = timedelta(seconds=1)
LANE = lane_of("t", "here")


@pytest.fixture
def stats(stores: Stores, now: datetime) -> Callable[..., DeploymentStats]:
    """Reads the statistics of the deployment. later: time after `now`."""

    def read(later: timedelta = timedelta()) -> DeploymentStats:
        return DeploymentStatsReader(stores.scripts).read(now + later)

    return read


@pytest.fixture
def make_pending_deliveries(stores: Stores, registration: Callable[..., Registration]) -> Callable[..., None]:
    """Creates deliveries of one destination that are due now."""

    def make(count: int, destination: str = "here", rate: float | None = None) -> None:
        jobs = tuple(Job(f"{destination}-{number}", JobState.SUCCEEDED) for number in range(count))
        made = registration(destination=destination, job_ids=(), ended=jobs)
        stores.registrations.add(made, rate=rate)

    return make


def make_dead_delivery(stores: Stores, now: datetime) -> None:
    """Claims one due delivery and records it as dead."""
    (claimed,) = claim_due(stores.deliveries_due, now, 1)
    dead = NextStep(DeliveryState.DEAD, death=Death.GONE)
    stores.scripts.run(stores.deliveries.record(claimed, Verdict.GONE, dead, {"number": 1}))


def test_what_is_pending_and_dead_is_counted_until_it_is_forgotten(
    runtime: Runtime, make_pending_deliveries, stats, now
) -> None:
    make_pending_deliveries(3)
    make_dead_delivery(runtime.stores, now)
    assert stats().deliveries == {"pending": 2, "held": 0, "dead": 1}
    retention = runtime.settings.retention
    assert stats(retention + 2 * runtime.settings.lease).deliveries["dead"] == 0
    again = runtime.stores.deliveries.redeliver("t", runtime.stores.redis.zrange(keys.dead(), 0, -1)[0], now)
    assert again is DeliveryState.PENDING
    assert stats().deliveries == {"pending": 3, "held": 0, "dead": 0}


def test_what_is_on_hold_is_neither_due_nor_late(runtime: Runtime, make_pending_deliveries, stats, now) -> None:
    make_pending_deliveries(3)
    assert stats(9 * SECOND).due == {POLL: 0, DELIVER: 3}
    assert stats(9 * SECOND).late[DELIVER] == 9 * SECOND
    runtime.destinations.pause(LANE, now)
    held = stats(9 * SECOND)
    assert held.deliveries == {"pending": 0, "held": 3, "dead": 0}
    assert held.destinations == {"failing": 0, "paused": 1, "disabled": 0}
    assert (held.due[DELIVER], held.late[DELIVER]) == (0, timedelta())
    assert held.on_hold_longest == 9 * SECOND
    assert runtime.destinations.discard(LANE, now) == 3
    assert stats().deliveries == {"pending": 0, "held": 0, "dead": 3}
    assert stats(9 * SECOND).on_hold_longest == timedelta()  # nothing is kept back any more
    runtime.destinations.resume(LANE, now)
    assert stats().destinations["paused"] == 0


def test_for_how_long_a_destination_fails_is_told_while_deliveries_wait_for_it(
    runtime: Runtime, stores: Stores, make_pending_deliveries, stats, now
) -> None:
    make_pending_deliveries(2)
    stores.redis.sadd(keys.lanes_in_state("failing"), LANE, lane_of("t", "forgotten"))
    stores.redis.hset(keys.lane(DELIVER, LANE), "failing_since", to_ms(now))
    assert stats(3_601 * SECOND).failing_longest == 3_601 * SECOND
    runtime.destinations.pause(LANE, now)
    assert stats(3_601 * SECOND).failing_longest == timedelta()
    runtime.destinations.discard(LANE, now)
    assert stats(3_601 * SECOND).failing_longest == timedelta()


def test_what_has_not_ended_yet_is_counted_as_zero(runtime: Runtime) -> None:
    """Otherwise Prometheus does not see the first job that is lost."""
    ended = read_samples(runtime)["cph_bridge_jobs_ended_total"]
    assert {labels: count for labels, count in ended.items() if "lost" in labels}.keys() == {("default", "lost")}
    assert set(ended.values()) == {0}


def test_polls_are_due_whatever_their_patience_and_again_when_a_lease_has_ended(
    runtime: Runtime, registration, stats, now: datetime
) -> None:
    runtime.stores.registrations.add(registration("a", "b"))
    runtime.stores.registrations.add(registration("none", job_ids=(), request_id="r"))
    assert stats().watches == {"pending": 2, "running": 0}
    assert stats().watching == 2
    assert stats().due[POLL] == 3
    assert len(claim_due(runtime.stores.polls_due, now, 10)) == 3
    assert stats().due[POLL] == 0
    assert stats(runtime.settings.lease).due[POLL] == 3


def test_what_the_rate_of_a_destination_delays_is_not_late(stores: Stores, make_pending_deliveries, stats, now) -> None:
    """A bot accepts one message a second: the others wait for its rate limit, not for the bridge."""
    make_pending_deliveries(5, "https://chat.example:443#slack-1", rate=1)
    (claimed,) = claim_due(stores.deliveries_due, now, 10)
    stores.scripts.run(
        stores.deliveries.record(claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
    )
    assert claim_due(stores.deliveries_due, now, 10) == ()
    assert stats(SECOND / 2).late[DELIVER] == timedelta()
    assert stats(10 * SECOND).late[DELIVER] == 9 * SECOND
    assert stats(10 * SECOND).due[DELIVER] == 4


def test_it_costs_the_same_however_much_there_is(stores: Stores, make_pending_deliveries, stats, now) -> None:
    make_pending_deliveries(1)
    pipeline = stores.redis.pipeline(transaction=False)
    lanes = [lane_of("t", f"https://{number}.example:443") for number in range(20 * LANE_LIMIT)]
    for lane in lanes:
        pipeline.zadd(keys.due(DELIVER, lane), {"dlv_1": 0, "dlv_2": 0})
        pipeline.sadd(keys.lanes_in_state("paused"), lane)
    pipeline.zadd(keys.lanes(DELIVER), dict.fromkeys(lanes, 1))
    pipeline.execute()
    stores.redis.slowlog_reset()
    stores.redis.config_set("slowlog-log-slower-than", 0)
    seen = stats()
    stores.redis.config_set("slowlog-log-slower-than", 10_000)
    longest = max(entry["duration"] for entry in stores.redis.slowlog_get(20))
    print(f"of {len(lanes):,} lanes: {longest / 1000} ms in Redis")
    assert seen.due[DELIVER] == 2 * LANE_LIMIT + len(lanes) + 1 - LANE_LIMIT
    assert seen.destinations["paused"] == len(lanes)
    commands = stores.redis.info("commandstats")["cmdstat_zcount"]["calls"]
    assert commands < 3 * LANE_LIMIT


def test_the_names_of_rq_are_those_that_rq_uses(stores: Stores, stats) -> None:
    for kind in (POLL, DELIVER):
        target = queue(kind, stores)
        assert target.key == keys.rq_queue(kind)
        enqueue_drain(target, kind, 1)
        worker = Worker([target], connection=stores.rq_redis)
        worker.register_birth()
    assert stats().queued == {POLL: 1, DELIVER: 1}
    assert stats().workers == {POLL: 1, DELIVER: 1}
    for name in stores.redis.scan_iter("rq:worker:*"):
        stores.redis.delete(name)  # as if they had been killed some minutes ago
    assert stats().workers == {POLL: 0, DELIVER: 0}


def read_samples(runtime: Runtime) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample of the metrics page, by its name and the values of its labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(runtime.metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def unresponsive_runtime(environment: dict[str, str]) -> Iterator[Runtime]:
    """A runtime whose Redis accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield Runtime(load(environment | {"BRIDGE_REDIS_URL": url}), patient=True)


def test_a_redis_that_does_not_answer_is_reported_within_seconds(unresponsive_runtime: Runtime) -> None:
    began = monotonic()
    page = read_samples(unresponsive_runtime)
    assert monotonic() - began < 5
    assert page["cph_bridge_redis_up"] == {(): 0}
    assert "cph_bridge_due" not in page


def test_projects_show_their_budget_and_that_they_are_refused(runtime: Runtime) -> None:
    now = runtime.stores.clock()
    assert read_samples(runtime)["cph_bridge_project_rate"] == {("default",): 10}
    runtime.stores.polls_due.open_breaker("default", now, 60 * SECOND, [60 * SECOND])
    page = read_samples(runtime)
    assert page["cph_bridge_project_refused"] == {("default",): 1}
    assert page["cph_bridge_polls_late_seconds"] == {("default",): 0}
    assert page["cph_bridge_project_throttled"] == {("default",): 0}
    runtime.stores.scripts.run(runtime.stores.polls_due.throttle("default", now, now + SECOND, 2.0))
    page = read_samples(runtime)
    assert page["cph_bridge_project_throttled"] == {("default",): 1}
    assert page["cph_bridge_project_rate"][("default",)] == pytest.approx(2, abs=0.2)
