"""Faults of Redis itself."""

import os
import signal
import time
from functools import partial
from typing import Any

from tests.faults.catalog import define, fault
from tests.faults.scene import Scene, Setting
from tests.faults.servers import flood

GROUP = "redis"
BUSY = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 4 do end"


def kill_redis(scene: Scene, away_s: float) -> None:
    scene.redis.kill()
    scene.pause(away_s)
    scene.redis.start()


def repeat(scene: Scene, *command: Any, seconds: float = 5, every: float = 0.02) -> None:
    with scene.client() as client:
        flood(client, command, seconds=seconds, every=every)


define(
    GROUP,
    "redis-killed",
    "SIGKILL to Redis, and a start with its file after 2 s",
    partial(kill_redis, away_s=2),
    quick=True,
)
define(
    GROUP,
    "redis-away-for-40-s",
    "Redis is away for 40 s",
    partial(kill_redis, away_s=40),
    recovers_s=5,
    settle_s=60,
)
define(GROUP, "scripts-flushed", "SCRIPT FLUSH every 20 ms for 5 s", lambda scene: repeat(scene, "SCRIPT", "FLUSH"))
define(
    GROUP,
    "clients-killed",
    "CLIENT KILL of all connections every 0.2 s for 5 s",
    lambda scene: repeat(scene, "CLIENT", "KILL", "TYPE", "normal", every=0.2),
)
define(
    GROUP,
    "redis-busy",
    "a script of somebody else runs for 4 s, twice; Redis answers BUSY",
    lambda scene: repeat(scene, "EVAL", BUSY, "0", seconds=6, every=0.5),
    setting=Setting(redis=("--busy-reply-threshold", "300")),
)


@fault(GROUP, "SIGSTOP to Redis for 10 s; the lease is 8 s")
def redis_suspended(scene: Scene) -> None:
    os.kill(scene.redis.pid, signal.SIGSTOP)
    scene.pause(10)
    os.kill(scene.redis.pid, signal.SIGCONT)


@fault(GROUP, "maxmemory is reached for 8 s: registering stops, the rest goes on", goes_on=True, quick=True)
def redis_full(scene: Scene) -> None:
    for runs_s in (4, 5, 6, 7):  # the others have ended by then
        scene.load.register("ann", [scene.cph.start(runs_s=runs_s)])
    with scene.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        scene.pause(8)
        client.config_set("maxmemory", 0)


@fault(GROUP, "SIGKILL to Redis, half a command at the end of its file, and a start")
def redis_file_torn(scene: Scene) -> None:
    scene.redis.kill()
    with scene.redis.torn_file().open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$8\r\ncph:torn\r\n$100\r\nhal")
    scene.redis.start()


@fault(GROUP, "snapshots cannot be written for 5 s: Redis answers MISCONF")
def redis_cannot_save(scene: Scene) -> None:
    target = scene.redis.folder / "dump.rdb"
    target.mkdir()
    with scene.client() as client:
        client.config_set("save", "1 1")
        client.bgsave(schedule=True)
        scene.pause(5)
        target.rmdir()
        client.config_set("save", "")
        client.bgsave(schedule=True)


@fault(GROUP, "all keys of RQ are deleted every 0.3 s for 5 s", quick=True)
def rq_keys_deleted(scene: Scene) -> None:
    delete_keys(scene, "rq:*", every=0.3)


@fault(GROUP, "the dispatchers' lock and the wake marks are deleted every 0.1 s for 5 s")
def locks_deleted(scene: Scene) -> None:
    delete_keys(scene, "cph:lock:*", "cph:wake:*", every=0.1)


def delete_keys(scene: Scene, *patterns: str, every: float) -> None:
    until = time.monotonic() + 5
    with scene.client() as client:
        while time.monotonic() < until:
            for pattern in patterns:
                for key in client.scan_iter(match=pattern, count=1000):
                    client.delete(key)
            time.sleep(every)


@fault(GROUP, "Redis becomes a replica of nobody for 3 s: its connections are unblocked with an error")
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
    damages=True,
    told=r'"level": "error", "event": "redis\.data_lost"',
)
def redis_emptied(scene: Scene) -> None:
    with scene.client() as client:
        client.flushall()
    scene.pause(6)
