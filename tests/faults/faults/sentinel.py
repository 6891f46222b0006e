"""Faults of three Redis and three Sentinels, with BRIDGE_WAIT_REPLICAS and min-replicas-to-write as documented."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from tests.faults.catalog import fault
from tests.faults.scene import Scene, Setting
from tests.faults.servers import SERVICE, SceneRedisGroup

GROUP = "sentinel"
SENTINELS = Setting(sentinel=True, workers=2)
OPTIONS: dict[str, Any] = {"setting": SENTINELS, "recovers_s": 25, "settle_s": 60}
SENTINEL_ADDRESSES = {f"127.0.0.{21 + number}" for number in range(3)}


def group_of(scene: Scene) -> SceneRedisGroup:
    assert scene.group
    return scene.group


@fault(GROUP, "SENTINEL FAILOVER, as before an upgrade", **OPTIONS)
def failover_planned(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    group.sentinel("FAILOVER", SERVICE)
    group.wait_for_another(old)
    scene.pause(2)


@fault(GROUP, "SENTINEL FAILOVER … COORDINATED, which Valkey 9 has", **OPTIONS)
def failover_coordinated(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    group.sentinel("FAILOVER", SERVICE, "COORDINATED")
    group.wait_for_another(old)
    scene.pause(2)


@fault(GROUP, "two planned failovers, one after the other", **OPTIONS)
def failover_twice(scene: Scene) -> None:
    group = group_of(scene)
    for _ in range(2):
        old = group.primary()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(RedisError):  # a failover too soon after another one is refused
                group.sentinel("FAILOVER", SERVICE)
                break
            scene.pause(0.5)
        group.wait_for_another(old)
        scene.pause(1)


@fault(GROUP, "SIGKILL to the primary", **OPTIONS)
def failover_unplanned(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    group.servers[old].kill()
    group.wait_for_another(old)
    scene.pause(2)


@fault(GROUP, "SIGKILL to the primary, which comes back after its replacement", **OPTIONS)
def old_primary_returns(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    group.servers[old].kill()
    group.wait_for_another(old)
    group.servers[old].start(*group.options(old))
    scene.pause(4)


@fault(GROUP, "SIGSTOP to the primary until it is replaced, and SIGCONT", **OPTIONS)
def primary_suspended(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    os.kill(group.servers[old].pid, signal.SIGSTOP)
    group.wait_for_another(old)
    os.kill(group.servers[old].pid, signal.SIGCONT)
    scene.pause(4)


def part(scene: Scene, inside: set[int], *, clients: bool) -> None:
    """Parts these servers from the other servers and all Sentinels, and heals that 6 s after the failover.

    clients: whether clients are on their side.
    """
    group = group_of(scene)
    old = group.primary()
    far = {group.address(number) for number in range(3) if number not in inside}
    near = {group.address(number) for number in inside}
    lost = far | SENTINEL_ADDRESSES | (set() if clients else {"127.0.0.1"})
    for number, proxy in enumerate(group.proxies):
        proxy.blocked = (lost if number in inside else near).__contains__
    group.wait_for_another(old)
    scene.pause(6)
    for proxy in group.proxies:
        proxy.calm()
    scene.pause(4)


@fault(GROUP, "the primary, with the clients, is parted from the rest", **OPTIONS)
def primary_parted(scene: Scene) -> None:
    part(scene, {group_of(scene).primary()}, clients=True)


@fault(GROUP, "the primary and one replica, with the clients, are parted from the rest", **OPTIONS)
def primary_and_replica_parted(scene: Scene) -> None:
    primary = group_of(scene).primary()
    part(scene, {primary, scene.random.choice([n for n in range(3) if n != primary])}, clients=True)


@fault(GROUP, "the primary is parted from everybody", **OPTIONS)
def primary_cut_off(scene: Scene) -> None:
    part(scene, {group_of(scene).primary()}, clients=False)


@fault(GROUP, "SIGKILL to one replica, which comes back after 4 s", **OPTIONS)
def replica_killed(scene: Scene) -> None:
    kill_replicas(scene, 1)


@fault(GROUP, "SIGKILL to both replicas, which come back after 4 s", **OPTIONS)
def replicas_killed(scene: Scene) -> None:
    kill_replicas(scene, 2)


def kill_replicas(scene: Scene, count: int) -> None:
    group = group_of(scene)
    replicas = [number for number in range(3) if number != group.primary()][:count]
    for number in replicas:
        group.servers[number].kill()
    scene.pause(4)
    for number in replicas:
        group.servers[number].start(*group.options(number))
        group.follow(number, group.primary())
    scene.pause(2)


@fault(GROUP, "all Sentinels are suspended for 4 s, and all connections to Redis are cut", **OPTIONS)
def sentinels_suspended(scene: Scene) -> None:
    group = group_of(scene)
    for pid in group.sentinel_pids():
        os.kill(pid, signal.SIGSTOP)
    for proxy in group.proxies:
        proxy.cut_all()
    scene.pause(4)
    for pid in group.sentinel_pids():
        os.kill(pid, signal.SIGCONT)
