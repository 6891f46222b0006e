"""Clients that find the primary through Sentinels: real processes, with a password of their own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.devkit.processes import wait_until
from app.domain.errors import Unavailable, UnfitRedis
from tests.support.redis_group import CLIENTS, SENTINEL_PASSWORD, RedisGroup

pytestmark = pytest.mark.slow  # starts and kills processes

BOUND_S = 20.0


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisGroup]:
    with RedisGroup(tmp_path_factory.mktemp("group"), sentinels=3) as group:
        yield group


def close(stores: Stores) -> None:
    for client in (stores.redis, stores.rq_redis):
        client.close()
        client.connection_pool.sentinel_manager.close()


def test_user_and_passwords_are_shown_to_redis_and_to_the_sentinels(group: RedisGroup, registration) -> None:
    runtime = Runtime(load(group.settings))
    runtime.stores.registrations.add(registration())
    assert runtime.stores.redis.acl_whoami() == "bridge"
    assert runtime.stores.rq_redis.ping()
    with pytest.raises(UnfitRedis):
        runtime.stores.redis.config_set("maxmemory", "1")
    close(runtime.stores)


def test_a_sentinel_that_refuses_us_names_no_primary(group: RedisGroup, registration) -> None:
    runtime = Runtime(load(group.settings | {"BRIDGE_REDIS_SENTINEL_PASSWORD": "another"}))
    with pytest.raises(Unavailable, match="no Sentinel names a primary"):
        runtime.stores.registrations.add(registration())
    close(runtime.stores)


def test_the_sentinels_password_is_rotated_and_who_kept_the_old_one_finds_no_other_primary(
    tmp_path: Path, registration
) -> None:
    """The steps are those of docs/operations.md."""
    with RedisGroup(tmp_path, sentinels=3) as group:
        with_old_password, with_new_password = (
            Runtime(load(group.settings | {"BRIDGE_REDIS_SENTINEL_PASSWORD": password}))
            for password in (SENTINEL_PASSWORD, "another")
        )
        with_old_password.stores.registrations.add(registration())
        group.tell_sentinels("ACL", "SETUSER", "default", ">another")
        group.tell_sentinels("SENTINEL", "CONFIG", "SET", "sentinel-pass", "another")
        with_new_password.stores.registrations.add(registration())
        group.sentinel_password = "another"
        group.tell_sentinels("ACL", "SETUSER", "default", f"<{SENTINEL_PASSWORD}")
        group.tell_sentinels("CLIENT", "KILL", "USER", "default")
        with_old_password.stores.registrations.add(registration())
        group.processes[group.first].kill()
        group.wait_until_promoted()
        with pytest.raises(Unavailable, match=r"no Sentinel names a primary.*BRIDGE_REDIS_SENTINEL"):
            with_old_password.stores.registrations.add(registration())
        with_new_password.stores.registrations.add(registration())
        close(with_old_password.stores)
        close(with_new_password.stores)


def test_a_primary_that_was_parted_from_all_but_us_acknowledges_nothing_and_is_left(
    tmp_path: Path, registration
) -> None:
    """Our connections to it stay open and no Sentinel answers: only its lack of replicas shows that it was replaced."""
    with RedisGroup(tmp_path, replicas=2, sentinels=3) as group:
        runtime = Runtime(load(group.settings | {"BRIDGE_WAIT_REPLICAS": "1"}))
        runtime.stores.registrations.add(registration())
        unacknowledged, acknowledged = registration(), registration()
        with group.door.shut_on_servers():
            group.wait_until_replaced()
            for port in group.sentinels:
                group.freeze(port)
            with pytest.raises(Unavailable):
                runtime.stores.registrations.add(unacknowledged)
            for port in group.sentinels:
                group.thaw(port)
            runtime.stores.registrations.add(acknowledged)
            assert runtime.stores.registrations.get("t", acknowledged.id)
            assert runtime.stores.registrations.get("t", unacknowledged.id) is None
        close(runtime.stores)


def test_reads_leave_a_primary_that_was_parted_from_all_but_us(tmp_path: Path, registration) -> None:
    """Nothing is written: only the Sentinels, asked every few seconds, show that it was replaced."""
    with RedisGroup(tmp_path, replicas=2, sentinels=3) as group:
        reader, writer = Runtime(load(group.settings)), Runtime(load(group.settings))
        made = registration()
        assert reader.stores.registrations.get("t", made.id) is None
        with group.door.shut_on_servers():
            group.wait_until_replaced()
            writer.stores.registrations.add(made)
            wait_until(lambda: reader.stores.registrations.get("t", made.id), what="a read from the new primary")
        close(reader.stores)
        close(writer.stores)


def test_a_client_follows_when_the_primary_is_replaced(group: RedisGroup, settings: Settings, registration) -> None:
    """A planned failover, as before an upgrade of Redis: the old primary becomes a replica."""
    runtime = Runtime(load(group.settings | {"BRIDGE_WAIT_REPLICAS": "1"}))
    before, after = registration(), registration()
    runtime.stores.registrations.add(before)
    group.fail_over()
    started = time.monotonic()
    while True:
        try:
            runtime.stores.registrations.add(after)
            break
        except Unavailable:
            assert time.monotonic() - started < BOUND_S
    assert runtime.stores.registrations.get("t", before.id)
    assert runtime.stores.rq_redis.set("rq:x", "y")
    close(runtime.stores)


def test_sentinels_with_acl_users_are_asked_as_the_user_that_is_named(group: RedisGroup, registration) -> None:
    group.tell_sentinels("ACL", "SETUSER", "watcher", "on", ">pw-of-watcher", "allchannels", "+@all")
    as_user = {"BRIDGE_REDIS_SENTINEL_USER": "watcher", "BRIDGE_REDIS_SENTINEL_PASSWORD": "pw-of-watcher"}
    for settings, is_known in ((as_user, True), (as_user | {"BRIDGE_REDIS_SENTINEL_USER": ""}, False)):
        runtime = Runtime(load(group.settings | settings))
        if is_known:
            runtime.stores.registrations.add(registration())
        else:
            with pytest.raises(Unavailable, match="no Sentinel names a primary"):
                runtime.stores.registrations.add(registration())
        close(runtime.stores)


def test_a_wrong_address_before_the_sentinels_keeps_nobody_from_them(group: RedisGroup, registration) -> None:
    addresses = f"{CLIENTS}:{group.first},{group.settings['BRIDGE_REDIS_SENTINELS']}"
    runtime = Runtime(load(group.settings | {"BRIDGE_REDIS_SENTINELS": addresses}))
    runtime.stores.registrations.add(registration())
    close(runtime.stores)
