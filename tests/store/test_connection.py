"""Redis that is away, full, or another clock."""

from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotConnected

from app.devkit.redis_server import RedisServer
from app.domain.errors import Unavailable
from app.domain.job import Job, JobState
from app.runtime import Runtime
from app.settings import load
from app.store.clock import RedisClock
from app.store.connection import HASTY, connect


def test_a_redis_that_is_away_is_unavailable(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retry=HASTY, timeout=timedelta(seconds=1))
    with pytest.raises(Unavailable, match="cannot be reached"):
        redis.ping()
    with pytest.raises(Unavailable, match="cannot be reached"):
        redis.pipeline().ping().execute()


def test_rq_sees_the_errors_it_knows(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retry=HASTY, timeout=timedelta(seconds=1), kind=Redis)
    with pytest.raises(NotConnected):
        redis.ping()


def test_a_patient_client_sits_out_a_restart(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    runtime = Runtime(load({"BRIDGE_REDIS_URL": server.url}), patient=True)
    runtime.scripts.run(runtime.polls_due.claim(runtime.clock(), 1))
    server.kill()
    server.start()
    runtime.scripts.run(runtime.polls_due.claim(runtime.clock(), 1))
    runtime.redis.close()
    server.stop()


def test_a_full_redis_refuses_registrations_and_still_records_results(
    runtime: Runtime, registration, now, deliveries_of
) -> None:
    runtime.registrations.add(registration())
    (claimed,) = runtime.polls_due.claim_due(now, 1).items
    runtime.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match="full"):
            runtime.registrations.add(registration())
        runtime.scripts.run(runtime.watches.complete(claimed, Job("job-1", JobState.SUCCEEDED), now))
    finally:
        runtime.redis.config_set("maxmemory", "0")
    assert len(deliveries_of()) == 1


def test_the_clock_goes_by_redis_and_not_by_ours(runtime: Runtime) -> None:
    an_hour_off = RedisClock(runtime.redis, lambda: runtime.clock().timestamp() - 3600)
    assert abs(an_hour_off() - runtime.clock()) < timedelta(seconds=1)


def test_without_redis_the_clock_goes_on(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retry=HASTY, timeout=timedelta(seconds=1))
    assert RedisClock(redis, lambda: 60.0)().timestamp() == 60.0


def test_sentinels_are_asked_for_the_primary(tmp_path: Path) -> None:
    settings = load({"BRIDGE_REDIS_URL": "redis://user:pw@ignored/3", "BRIDGE_REDIS_SENTINELS": "127.0.0.1:9, [::1]:9"})
    redis = Runtime(settings).redis
    assert redis.connection_pool.connection_kwargs["password"] == "pw"
    assert redis.connection_pool.connection_kwargs["db"] == 3
    with pytest.raises(Unavailable):
        redis.ping()
