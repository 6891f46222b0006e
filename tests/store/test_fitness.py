"""The check of a Redis server at start, and its error messages."""

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.devkit.processes import wait_until
from app.devkit.redis_server import RedisServer
from app.domain.errors import Unavailable, UnfitRedis
from app.store.engine.refusals import RIGHTS
from app.store.fitness import inspect_redis, judge, name_of
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.redis_group import PASSWORD
from tests.support.unfit_redis import EVICTING, UNFIT, Unfit, redis_on

OPERATIONS = ROOT / "docs" / "operations.md"
FIT = {"redis_version": "7.0.0", "redis_mode": "standalone", "cluster_enabled": 0, "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_an_unfit_redis_is_refused_in_words_without_a_secret(unfit: Unfit, tmp_path: Path) -> None:
    with unfit.opened(tmp_path) as url:
        runtime = Runtime(load({"BRIDGE_REDIS_URL": url}))
        with pytest.raises(UnfitRedis) as refused:
            runtime.stores.fitness.check()
        runtime.stores.redis.close()
    assert unfit.words in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_a_fit_redis_is_left_as_it_was(stores: Stores) -> None:
    stores.fitness.check()
    assert stores.redis.dbsize() == 0
    assert inspect_redis(stores.scripts).usable


def test_a_redis_that_evicts_can_be_inspected_all_the_same(tmp_path: Path) -> None:
    with UNFIT["evicting"].opened(tmp_path) as url:
        runtime = Runtime(load({"BRIDGE_REDIS_URL": url}))
        assert inspect_redis(runtime.stores.scripts).usable
        runtime.stores.redis.close()


def test_a_replica_is_no_matter_of_fitness_and_heals(stores: Stores) -> None:
    stores.redis.config_set("replica-serve-stale-data", "no")
    stores.redis.replicaof("127.0.0.1", "9")
    try:
        with pytest.raises(Unavailable, match="is a replica: BRIDGE_REDIS_URL must name the primary"):
            stores.fitness.check()
        with pytest.raises(Unavailable, match="is a replica without its primary"):
            stores.redis.get("anything")
    finally:
        stores.redis.replicaof("NO", "ONE")
        stores.redis.config_set("replica-serve-stale-data", "yes")
    stores.fitness.check()


def test_nor_is_a_script_of_somebody_else_that_does_not_end(redis_server: RedisServer, stores: Stores) -> None:
    def run_endless_script() -> None:
        with Redis.from_url(redis_server.url) as other, suppress(ResponseError):  # it is killed
            other.eval("while true do end", 0)

    stores.redis.config_set("busy-reply-threshold", 50)
    endless = Thread(target=run_endless_script)
    endless.start()
    try:
        assert "Redis is busy" in str(wait_until(lambda: refusal(stores), what="a Redis that is busy"))
    finally:
        with Redis.from_url(redis_server.url) as other:
            other.script_kill()
        endless.join()
        stores.redis.config_set("busy-reply-threshold", 5_000)
    stores.fitness.check()


def refusal(stores: Stores) -> Exception | None:
    try:
        stores.fitness.check()
    except Unavailable as error:
        return error
    return None


def test_another_server_is_checked_and_the_same_one_is_not_checked_again(tmp_path: Path) -> None:
    port = free_port()
    with redis_on(tmp_path / "first", port) as url:
        runtime = Runtime(load({"BRIDGE_REDIS_URL": url}))
        runtime.stores.fitness.check()
        runtime.stores.redis.config_set("maxmemory-policy", "allkeys-lru")
        runtime.stores.fitness.check()
    with redis_on(tmp_path / "second", port, *EVICTING), pytest.raises(UnfitRedis):
        runtime.stores.fitness.check()
    runtime.stores.redis.close()


@pytest.mark.parametrize(
    ("info", "faults"),
    [
        ({}, 0),
        ({"redis_version": "6.2.20"}, 1),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, 0),
        ({"redis_version": "10.0.1"}, 0),
        ({"redis_version": 8.2}, 0),
        ({"redis_version": "unstable"}, 0),
        ({"redis_mode": "cluster"}, 1),
        ({"cluster_enabled": 1}, 1),
        ({"maxmemory_policy": "volatile-ttl"}, 1),
        ({"redis_version": "6.0.16", "cluster_enabled": 1, "maxmemory_policy": "allkeys-lfu"}, 3),
        ({"redis_mode": "sentinel", "redis_version": "6.0.16"}, 1),
    ],
)
def test_each_fault_is_reported(info: dict[str, Any], faults: int) -> None:
    assert len(list(judge(FIT | info))) == faults


@pytest.mark.parametrize("field", FIT)
def test_what_a_managed_service_does_not_report_is_no_fault(field: str) -> None:
    assert not list(judge({name: value for name, value in FIT.items() if name != field}))
    assert not list(judge({}))


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (FIT, "Redis 7.0.0"),
        (FIT | {"valkey_version": "9.1.2"}, "Valkey 9.1.2"),
        ({}, "Redis of unknown version"),
    ],
)
def test_a_server_is_named_as_people_know_it(info: dict[str, Any], name: str) -> None:
    assert name_of(info) == name


def test_a_password_that_redis_quotes_is_not_repeated(tmp_path: Path) -> None:
    """A server without HELLO quotes its arguments in the error message, and two of them are user and password."""
    with redis_on(tmp_path, free_port(), "--rename-command", "HELLO", "") as url:
        with Redis.from_url(url, protocol=2) as client:
            client.acl_setuser("bridge", enabled=True, passwords=["+pw-canary"], commands=["+@all"], keys=["*"])
        runtime = Runtime(load({"BRIDGE_REDIS_URL": url.replace("://", "://bridge:pw-canary@")}))
        with pytest.raises(UnfitRedis, match="does not know the command HELLO") as refused:
            runtime.stores.fitness.check()
        runtime.stores.redis.close()
    assert "canary" not in str(refused.value)


def test_the_guide_names_the_same_rights() -> None:
    assert f"`{RIGHTS.replace('|', chr(92) + '|')}`" in OPERATIONS.read_text(encoding="utf-8")
