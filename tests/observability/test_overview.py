"""What is read from Redis: true, of bounded cost, and soon over when Redis is not there."""

import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rq import Worker

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.delivery import Death, DeliveryState, NextStep
from app.domain.destination import lane_of
from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.store.agenda import DELIVER, POLL
from app.store.deployment_stats import LANES_LOOKED_AT, DeploymentStats, DeploymentStatsReader
from app.store.engine import keys
from tests.support.claims import claim_due
from workers.rq_queues import enqueue_drain, queue

SECOND = timedelta(seconds=1)
LANE = lane_of("t", "here")


@pytest.fixture
def standing(stores: Stores, now: datetime) -> Callable[..., DeploymentStats]:
    def read(later: timedelta = timedelta()) -> DeploymentStats:
        return DeploymentStatsReader(stores.scripts).read(now + later)

    return read


@pytest.fixture
def owe(stores: Stores, registration, now: datetime) -> Callable[..., None]:
    """So many deliveries are due, at one destination."""

    def make(count: int, destination: str = "here", rate: float | None = None) -> None:
        jobs = tuple(Job(f"{destination}-{number}", JobState.SUCCEEDED) for number in range(count))
        made = registration(destination=destination, job_ids=(), ended=jobs)
        stores.registrations.add(made, rate=rate)

    return make


def die(stores: Stores, now: datetime) -> None:
    """One of those that are due."""
    (claimed,) = claim_due(stores.deliveries_due, now, 1)
    dead = NextStep(DeliveryState.DEAD, death=Death.GONE)
    stores.scripts.run(stores.deliveries.record(claimed, Verdict.GONE, dead, {"number": 1}))


def test_what_is_owed_and_dead_is_counted_until_it_is_forgotten(runtime: Runtime, owe, standing, now) -> None:
    owe(3)
    die(runtime.stores, now)
    assert standing().deliveries == {"pending": 2, "held": 0, "dead": 1}
    retention = runtime.settings.retention
    assert standing(retention + 2 * runtime.settings.lease).deliveries["dead"] == 0
    again = runtime.stores.deliveries.redeliver("t", runtime.stores.redis.zrange(keys.dead(), 0, -1)[0], now)
    assert again is DeliveryState.PENDING
    assert standing().deliveries == {"pending": 3, "held": 0, "dead": 0}


def test_what_is_held_is_neither_due_nor_late(runtime: Runtime, owe, standing, now) -> None:
    owe(3)
    assert standing(9 * SECOND).due == {POLL: 0, DELIVER: 3}
    assert standing(9 * SECOND).late[DELIVER] == 9 * SECOND
    runtime.destinations.pause(LANE, now)
    held = standing(9 * SECOND)
    assert held.deliveries == {"pending": 0, "held": 3, "dead": 0}
    assert held.destinations == {"failing": 0, "paused": 1, "disabled": 0}
    assert (held.due[DELIVER], held.late[DELIVER]) == (0, timedelta())
    assert runtime.destinations.discard(LANE, now) == 3
    assert standing().deliveries == {"pending": 0, "held": 0, "dead": 3}
    runtime.destinations.resume(LANE, now)
    assert standing().destinations["paused"] == 0


def test_polls_are_due_whatever_their_patience_and_again_when_a_lease_has_ended(
    runtime: Runtime, registration, standing, now: datetime
) -> None:
    runtime.stores.registrations.add(registration("a", "b"))
    runtime.stores.registrations.add(registration("none", job_ids=(), request_id="r"))
    assert standing().watches == {"pending": 2, "running": 0}
    assert standing().watching == 2
    assert standing().due[POLL] == 3
    assert len(claim_due(runtime.stores.polls_due, now, 10)) == 3
    assert standing().due[POLL] == 0
    assert standing(runtime.settings.lease).due[POLL] == 3


def test_what_the_pace_of_a_destination_holds_back_is_not_late(stores: Stores, owe, standing, now) -> None:
    """A bot that takes one message a second: the others wait for it, and not for us."""
    owe(5, "https://chat.example:443#slack-1", rate=1)
    (claimed,) = claim_due(stores.deliveries_due, now, 10)
    stores.scripts.run(
        stores.deliveries.record(claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
    )
    assert claim_due(stores.deliveries_due, now, 10) == ()
    assert standing(SECOND / 2).late[DELIVER] == timedelta()
    assert standing(10 * SECOND).late[DELIVER] == 9 * SECOND
    assert standing(10 * SECOND).due[DELIVER] == 4


def test_it_costs_the_same_however_much_there_is(stores: Stores, owe, standing, now) -> None:
    owe(1)
    pipeline = stores.redis.pipeline(transaction=False)
    lanes = [lane_of("t", f"https://{number}.example:443") for number in range(20 * LANES_LOOKED_AT)]
    for lane in lanes:
        pipeline.zadd(keys.due(DELIVER, lane), {"dlv_1": 0, "dlv_2": 0})
        pipeline.sadd(keys.lanes_that_are("paused"), lane)
    pipeline.zadd(keys.lanes(DELIVER), dict.fromkeys(lanes, 1))
    pipeline.execute()
    stores.redis.slowlog_reset()
    stores.redis.config_set("slowlog-log-slower-than", 0)
    seen = standing()
    stores.redis.config_set("slowlog-log-slower-than", 10_000)
    longest = max(entry["duration"] for entry in stores.redis.slowlog_get(20))
    print(f"of {len(lanes):,} lanes: {longest / 1000} ms in Redis")
    assert seen.due[DELIVER] == 2 * LANES_LOOKED_AT + len(lanes) + 1 - LANES_LOOKED_AT
    assert seen.destinations["paused"] == len(lanes)
    commands = stores.redis.info("commandstats")["cmdstat_zcount"]["calls"]
    assert commands < 3 * LANES_LOOKED_AT


def test_the_names_of_rq_are_those_that_rq_uses(stores: Stores, standing) -> None:
    for kind in (POLL, DELIVER):
        target = queue(kind, stores)
        assert target.key == keys.rq_queue(kind)
        enqueue_drain(target, kind, 1)
        worker = Worker([target], connection=stores.rq_redis)
        worker.register_birth()
    assert standing().queued == {POLL: 1, DELIVER: 1}
    assert standing().workers == {POLL: 1, DELIVER: 1}
    for name in stores.redis.scan_iter("rq:worker:*"):
        stores.redis.delete(name)  # as when they were killed, and some minutes have passed
    assert standing().workers == {POLL: 0, DELIVER: 0}


def shown(runtime: Runtime) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample of the page, by name and by the values of its labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(runtime.metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def silent(environment: dict[str, str]) -> Iterator[Any]:
    """A Redis that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield Runtime(load(environment | {"BRIDGE_REDIS_URL": url}), patient=True)


def test_a_redis_that_does_not_answer_is_told_within_seconds(silent: Runtime) -> None:
    began = monotonic()
    page = shown(silent)
    assert monotonic() - began < 5
    assert page["cph_bridge_redis_up"] == {(): 0}
    assert "cph_bridge_due" not in page


def test_projects_show_their_budget_and_that_they_are_refused(runtime: Runtime) -> None:
    now = runtime.stores.clock()
    assert shown(runtime)["cph_bridge_project_rate"] == {("default",): 10}
    runtime.stores.polls_due.refuse("default", now, 60 * SECOND, [60 * SECOND])
    page = shown(runtime)
    assert page["cph_bridge_project_refused"] == {("default",): 1}
    assert page["cph_bridge_polls_late_seconds"] == {("default",): 0}
    assert page["cph_bridge_project_throttled"] == {("default",): 0}
    runtime.stores.scripts.run(runtime.stores.polls_due.throttle("default", now, now + SECOND, 2.0))
    page = shown(runtime)
    assert page["cph_bridge_project_throttled"] == {("default",): 1}
    assert page["cph_bridge_project_rate"][("default",)] == pytest.approx(2, abs=0.2)
