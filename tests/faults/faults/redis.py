"""Faults of Redis itself."""

import os
import signal
import time
from functools import partial
from typing import Any

from tests.faults.catalog import define, fault
from tests.faults.scene import Scene, quietly
from tests.faults.servers import flood

GROUP = "redis"
BUSY = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 3 do end"


def kill_redis(scene: Scene, away_s: float, *, times: int = 1) -> None:
    for _ in range(times):
        scene.redis.kill()
        scene.pause(away_s)
        scene.redis.start()
        scene.pause(0.5)


def repeat(scene: Scene, *command: Any, seconds: float = 5, every: float = 0.02) -> None:
    with scene.client() as client:
        flood(client, command, seconds=seconds, every=every)


def suspend_redis(scene: Scene, seconds: float) -> None:
    os.kill(scene.redis.pid, signal.SIGSTOP)
    scene.pause(seconds)
    os.kill(scene.redis.pid, signal.SIGCONT)


def configure(scene: Scene, name: str, value: object, back: object, seconds: float) -> None:
    with scene.client() as client:
        client.config_set(name, value)
        scene.pause(seconds)
        client.config_set(name, back)


def fill(scene: Scene, share: float, seconds: float) -> None:
    """Sets maxmemory so that this share of it is used."""
    with scene.client() as client:
        configure(scene, "maxmemory", int(client.info("memory")["used_memory"] / share), 0, seconds)


define(
    GROUP,
    "redis-killed",
    "SIGKILL to Redis, and a start with its file after 2 s",
    partial(kill_redis, away_s=2),
    quick=True,
)
define(
    GROUP,
    "redis-killed-three-times",
    "SIGKILL to Redis, three times within 3 s",
    partial(kill_redis, away_s=0.3, times=3),
)
define(
    GROUP, "redis-away-for-75-s", "Redis is away for 75 s", partial(kill_redis, away_s=75), recovers_s=5, settle_s=60
)
define(
    GROUP,
    "scripts-flushed",
    "SCRIPT FLUSH every 20 ms for 5 s",
    lambda scene: repeat(scene, "SCRIPT", "FLUSH"),
)
define(
    GROUP,
    "clients-killed",
    "CLIENT KILL of all connections every 0.2 s for 5 s",
    lambda scene: repeat(scene, "CLIENT", "KILL", "TYPE", "normal", every=0.2),
)
define(
    GROUP,
    "clients-paused",
    "CLIENT PAUSE of all commands for 4 s",
    lambda scene: repeat(scene, "CLIENT", "PAUSE", "4000", "ALL", seconds=0.1, every=4),
)
define(
    GROUP,
    "writes-paused",
    "CLIENT PAUSE of writes for 4 s",
    lambda scene: repeat(scene, "CLIENT", "PAUSE", "4000", "WRITE", seconds=0.1, every=4),
)
define(
    GROUP,
    "redis-slow",
    "DEBUG SLEEP 0.3 again and again for 6 s",
    lambda scene: repeat(scene, "DEBUG", "SLEEP", "0.3", seconds=6, every=0.1),
)
define(
    GROUP,
    "redis-busy",
    "a script of somebody else runs for 3 s, twice",
    lambda scene: repeat(scene, "EVAL", BUSY, "0", seconds=5, every=0.5),
)
define(GROUP, "redis-suspended", "SIGSTOP to Redis for 4 s", partial(suspend_redis, seconds=4))
define(
    GROUP,
    "redis-suspended-past-the-lease",
    "SIGSTOP to Redis for 12 s; the lease is 8 s",
    partial(suspend_redis, seconds=12),
)
define(
    GROUP,
    "redis-closes-idle-connections",
    "Redis closes connections that are idle for a second",
    lambda scene: configure(scene, "timeout", 1, 0, 6),
)
define(
    GROUP,
    "redis-full",
    "maxmemory is reached for 8 s: registering stops, the rest goes on",
    partial(fill, share=1.0, seconds=8),
    goes_on=True,
    quick=True,
)
define(
    GROUP,
    "redis-nearly-full",
    "85 % of maxmemory are used for 8 s: registering stops, the rest goes on",
    partial(fill, share=0.85, seconds=8),
    goes_on=True,
)


@fault(GROUP, "SIGKILL to Redis, half a command at the end of its file, and a start")
def redis_file_torn(scene: Scene) -> None:
    scene.redis.kill()
    with scene.redis.torn_file().open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$8\r\ncph:torn\r\n$100\r\nhal")
    scene.redis.start()


@fault(GROUP, "BGREWRITEAOF and BGSAVE every 0.3 s for 5 s")
def redis_saves_all_the_time(scene: Scene) -> None:
    repeat(scene, "BGREWRITEAOF", seconds=2.5, every=0.3)
    repeat(scene, "BGSAVE", "SCHEDULE", seconds=2.5, every=0.3)


@fault(GROUP, "SIGTERM to Redis, and a start after 1 s")
def redis_restarted(scene: Scene) -> None:
    with scene.client() as client:
        quietly(client.shutdown)
    scene.redis.kill()
    scene.pause(1)
    scene.redis.start()


@fault(GROUP, "all keys of RQ are deleted every 0.3 s for 5 s")
def rq_keys_deleted(scene: Scene) -> None:
    delete_keys(scene, "rq:*", 5)


@fault(GROUP, "the dispatchers' lock is deleted every 0.1 s for 5 s")
def locks_deleted(scene: Scene) -> None:
    delete_keys(scene, "cph:lock:*", 5, every=0.1)


@fault(GROUP, "the wake marks are deleted every 50 ms for 5 s")
def wake_marks_deleted(scene: Scene) -> None:
    delete_keys(scene, "cph:wake:*", 5, every=0.05)


def delete_keys(scene: Scene, pattern: str, seconds: float, every: float = 0.3) -> None:
    until = time.monotonic() + seconds
    with scene.client() as client:
        while time.monotonic() < until:
            for key in client.scan_iter(match=pattern, count=1000):
                client.delete(key)
            time.sleep(every)


@fault(GROUP, "Redis becomes a replica of nobody for 3 s: its connections are unblocked with an error", goes_on=False)
def redis_demoted(scene: Scene) -> None:
    with scene.client() as client:
        client.replicaof("127.0.0.1", 9)
        scene.pause(3)
        client.replicaof("NO", "ONE")


@fault(GROUP, "Redis accepts no further connection for 5 s, and closes those that it has")
def redis_takes_no_connection(scene: Scene) -> None:
    with scene.client() as client:
        client.config_set("maxclients", 10)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        scene.pause(5)
        client.config_set("maxclients", 10_000)


@fault(GROUP, "Redis asks for another password for 4 s", may_exit=True, recovers_s=25)
def redis_password_changed(scene: Scene) -> None:
    with scene.client() as client:
        client.config_set("requirepass", "another")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        scene.pause(4)
        client.execute_command("AUTH", "another")
        client.config_set("requirepass", "")


@fault(
    GROUP,
    "FLUSHALL: everything is gone, and that is told",
    loses="Redis has lost all data",
    told=r'"level": "(error|critical)", "event": "redis\.',
)
def redis_emptied(scene: Scene) -> None:
    with scene.client() as client:
        client.flushall()
    scene.pause(6)
