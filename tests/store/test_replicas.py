"""A write is acknowledged only once a replica has it. Tests use a real primary with a real replica."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotConnected

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings
from app.domain.access import Scope
from app.domain.destination import lane_of
from app.domain.errors import Unavailable
from app.domain.registration import Registration
from app.store.deliveries import DeadDeliveryFilter
from app.store.idempotency import Idempotency, Repeated
from tests.support.claims import claim_due
from tests.support.redis_group import RedisGroup

IDEMPOTENCY = Idempotency("key", "request", "the first answer")
ANY_DEAD = DeadDeliveryFilter(registration_id=None, destination=None, since=None, until=None)
LANE = lane_of("t", "https://bot.example:443")
BOUND_S = 6.0  # far above the one second of WAIT, for busy machines


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisGroup]:
    with RedisGroup(tmp_path_factory.mktemp("group")) as group:
        yield group


@pytest.fixture
def make_runtime(group: RedisGroup, settings: Settings) -> Iterator[Callable[..., Runtime]]:
    """Makes a runtime that waits for so many replicas, by default for one."""
    runtimes: list[Runtime] = []

    def make(wait_replicas: int = 1) -> Runtime:
        overrides = {"redis_url": group.url(group.first), "wait_replicas": wait_replicas}
        runtimes.append(Runtime(Settings.model_validate({**settings.model_dump(), **overrides})))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.stores.redis.flushall()
        runtime.stores.redis.close()
        runtime.stores.rq_redis.close()


def rotated(registration: Registration) -> Registration:
    return replace(registration, secret="whsec_" + "B" * 32)


def delivery_of(stores: Stores) -> str:
    found, _ = stores.deliveries.page("t", limit=1, cursor=None, since=None, until=None, wanted=lambda _: True)
    return found[0].id


def key_of(stores: Stores) -> str:
    found, _ = stores.api_keys.page("t", limit=1, cursor=None)
    return found[0].id


ACKNOWLEDGED: dict[str, Callable[[Runtime, Registration, datetime], Any]] = {
    "register": lambda runtime, made, now: runtime.stores.registrations.add(replace(made, id=made.id[:-1] + "z")),
    "rotate": lambda runtime, made, now: runtime.stores.registrations.change("t", made.id, rotated),
    "cancel": lambda runtime, made, now: runtime.stores.registrations.cancel("t", made.id),
    "redeliver": lambda runtime, made, now: runtime.stores.deliveries.redeliver("t", delivery_of(runtime.stores), now),
    "redeliver the dead": lambda runtime, made, now: runtime.stores.deliveries.redeliver_dead(
        "t", ANY_DEAD, now, rate=1, dry_run=False
    ),
    "pause": lambda runtime, made, now: runtime.destinations.pause(LANE, now),
    "resume": lambda runtime, made, now: runtime.destinations.resume(LANE, now),
    "discard": lambda runtime, made, now: runtime.destinations.discard(LANE, now),
    "keep an answer": lambda runtime, made, now: runtime.stores.claims.keep("t", IDEMPOTENCY),
    "create a key": lambda runtime, made, now: runtime.stores.api_keys.create("t", frozenset({Scope.ADMIN}), now),
    "revoke a key": lambda runtime, made, now: runtime.stores.api_keys.revoke(key_of(runtime.stores)),
}


@pytest.mark.parametrize("verb", ACKNOWLEDGED)
def test_nothing_is_acknowledged_that_no_replica_holds(
    group: RedisGroup, make_runtime, registration, now, verb: str
) -> None:
    runtime, made = make_runtime(), registration(verify=True)
    group.wait_until_held()
    runtime.stores.registrations.add(made)
    for _ in range(3):  # 'revoke a key' is called three times
        runtime.stores.api_keys.create("t", frozenset({Scope.ADMIN}), now)
    act = ACKNOWLEDGED[verb]
    with group.door.shut_on_servers():
        started = time.monotonic()
        with pytest.raises(Unavailable, match="too few replicas hold what was written: 0 of 1"):
            act(runtime, made, now)
        assert time.monotonic() - started < BOUND_S
        act(make_runtime(wait_replicas=0), made, now)
    group.wait_until_held()
    act(runtime, made, now)


def test_what_was_acknowledged_is_on_the_replica(group: RedisGroup, make_runtime, registration) -> None:
    runtime = make_runtime()
    with Redis.from_url(group.url(group.replicas[0]), decode_responses=True) as replica:
        for number in range(50):
            made = registration(f"job-{number}")
            runtime.stores.registrations.add(made)
            assert replica.exists(f"cph:{made.id}") == 1


def test_what_was_not_acknowledged_stays_and_its_key_repeats_it(group: RedisGroup, make_runtime, registration) -> None:
    first, again = registration(), registration()
    make_runtime().stores.registrations.add(registration())  # loads the script: an unknown one writes nothing
    with group.door.shut_on_servers():
        with pytest.raises(Unavailable):
            make_runtime().stores.registrations.add(first, IDEMPOTENCY)
        # A repeated request is not acknowledged either, although it only reads what is there already.
        with pytest.raises(Unavailable):
            make_runtime().stores.registrations.add(again, IDEMPOTENCY)
    runtime = make_runtime()
    assert runtime.stores.registrations.add(again, IDEMPOTENCY) == Repeated("the first answer")
    assert runtime.stores.registrations.get("t", first.id)
    assert runtime.stores.registrations.get("t", again.id) is None


def test_a_kept_answer_is_not_given_again_before_a_replica_holds_it(group: RedisGroup, make_runtime) -> None:
    with group.door.shut_on_servers():
        make_runtime(wait_replicas=0).stores.claims.keep("t", IDEMPOTENCY)
        with pytest.raises(Unavailable):
            make_runtime().stores.claims.claim("t", IDEMPOTENCY)
    assert make_runtime().stores.claims.claim("t", IDEMPOTENCY) == Repeated("the first answer")


def test_a_redis_that_has_forgotten_the_scripts_acknowledges_too(make_runtime, registration) -> None:
    runtime, made = make_runtime(), registration()
    runtime.stores.registrations.add(made)
    runtime.stores.redis.script_flush()
    assert runtime.stores.registrations.cancel("t", made.id) is not None


def test_a_primary_that_lacks_replicas_accepts_no_writes_and_is_unavailable_for_all(
    group: RedisGroup, make_runtime, registration, now
) -> None:
    runtime = make_runtime(wait_replicas=0)
    runtime.stores.registrations.add(registration())
    runtime.stores.redis.config_set("min-replicas-to-write", "2")
    try:
        with pytest.raises(Unavailable, match="accepts no writes: too few replicas follow it"):
            runtime.stores.registrations.add(registration())
        with pytest.raises(Unavailable, match="accepts no writes"):
            claim_due(runtime.stores.polls_due, now, 1)
        # Even when nothing is due: otherwise a worker would not search for another primary.
        with pytest.raises(Unavailable, match="accepts no writes"):
            claim_due(runtime.stores.deliveries_due, now, 1)
        with pytest.raises(Unavailable, match="accepts no writes"):
            runtime.stores.claims.keep("t", IDEMPOTENCY)
        with pytest.raises(NotConnected):
            runtime.stores.rq_redis.lpush("rq:queue:x", "1")
    finally:
        runtime.stores.redis.config_set("min-replicas-to-write", "0")


def test_a_replica_accepts_no_writes_and_says_what_to_mend(group: RedisGroup, settings: Settings, registration) -> None:
    overrides = {"redis_url": group.url(group.replicas[0])}
    runtime = Runtime(Settings.model_validate({**settings.model_dump(), **overrides}))
    with pytest.raises(Unavailable, match="BRIDGE_REDIS_URL must name the primary"):
        runtime.stores.registrations.add(registration())
    runtime.stores.redis.close()
