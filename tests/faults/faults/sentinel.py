"""Faults of three Redis and three Sentinels, with BRIDGE_WAIT_REPLICAS and min-replicas-to-write as documented.

Each ends when all servers are back and follow one primary: until then registering is answered 503, as documented.
"""

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
OPTIONS: dict[str, Any] = {"setting": Setting(sentinel=True), "recovers_s": 25, "settle_s": 60}
SENTINEL_ADDRESSES = {f"127.0.0.{21 + number}" for number in range(3)}
OPEN_JOBS_S = (10, 14, 26, 28)  # ends during and after a fault of about 20 s


def group_of(scene: Scene) -> SceneRedisGroup:
    assert scene.group
    return scene.group


def fail_over(scene: Scene, *how: str) -> None:
    """Lets the Sentinels fail over, and waits until all follow the new primary."""
    group = group_of(scene)
    old = group.primary()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(RedisError):  # a failover too soon after another one is refused
            group.sentinel("FAILOVER", SERVICE, *how)
            break
        scene.pause(0.5)
    group.wait_for_another(old)
    group.wait_until_whole()


@fault(GROUP, "SENTINEL FAILOVER, twice", **OPTIONS)
def failover_planned(scene: Scene) -> None:
    fail_over(scene)
    fail_over(scene)


@fault(GROUP, "SENTINEL FAILOVER … COORDINATED, which Valkey 9 has", **OPTIONS)
def failover_coordinated(scene: Scene) -> None:
    fail_over(scene, "COORDINATED")


@fault(GROUP, "SIGKILL to the primary for good: what is registered goes on", goes_on=True, **OPTIONS)
def failover_unplanned(scene: Scene) -> None:
    for runs_s in OPEN_JOBS_S:
        scene.load.register("ann", [scene.cph.start(runs_s=runs_s)])
    group = group_of(scene)
    old = group.primary()
    group.servers[old].kill()
    group.wait_for_another(old)
    scene.pause(15)


@fault(GROUP, "SIGKILL to the primary, which comes back after its replacement", **OPTIONS)
def old_primary_returns(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    group.servers[old].kill()
    group.wait_for_another(old)
    group.servers[old].start(*group.options(old))
    group.wait_until_whole()


@fault(GROUP, "SIGSTOP to the primary until it is replaced, and SIGCONT", **OPTIONS)
def primary_suspended(scene: Scene) -> None:
    group = group_of(scene)
    old = group.primary()
    os.kill(group.servers[old].pid, signal.SIGSTOP)
    group.wait_for_another(old)
    os.kill(group.servers[old].pid, signal.SIGCONT)
    group.wait_until_whole()


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
    group.wait_until_whole()


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
    group.wait_until_whole()


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
    group.wait_until_whole()
