"""Faults of the bridge's own processes."""

import signal
from collections.abc import Sequence
from functools import partial

from tests.faults.catalog import define, fault
from tests.faults.judge import Breach
from tests.faults.scene import Scene, Setting

GROUP = "processes"
ROLES = ("api", "poll", "deliver")
TWO = Setting(workers=2)
STOPS_WITHIN_S = 15


def kill_often(scene: Scene, role: str) -> None:
    for _ in range(3):
        scene.pick(role).send(signal.SIGKILL)
        scene.pause(0.3, 2.0)


def suspend(scene: Scene, role: str, seconds: float) -> None:
    """Suspends one process of the role with everything that it started."""
    member = scene.pick(role)
    for pid in member.family():
        scene.signal(pid, signal.SIGSTOP)
    scene.pause(seconds)
    for pid in member.family():
        scene.signal(pid, signal.SIGCONT)


for role in ROLES:
    define(
        GROUP,
        f"kill-{role}",
        f"SIGKILL to a random {role} process, three times",
        partial(kill_often, role=role),
        setting=TWO,
    )
for role in ROLES[1:]:
    define(
        GROUP,
        f"suspend-{role}-past-its-lease",
        f"SIGSTOP to a {role} worker for 11 s; its lease is 8 s",
        partial(suspend, role=role, seconds=11),
        quick=role == "deliver",
        setting=TWO,
    )


@fault(GROUP, "SIGKILL to everything at once", setting=TWO, quick=True)
def kill_everything(scene: Scene) -> None:
    scene.fleet.restart(*ROLES)
    scene.pause(2)


@fault(GROUP, "SIGKILL to a worker within 0.5 s of the start of its dispatcher, four times", setting=TWO)
def kill_as_its_dispatcher_starts(scene: Scene) -> None:
    member = scene.pick("poll", "deliver")
    for _ in range(4):
        member.send(signal.SIGKILL)
        member = scene.successor(member)
        scene.wait_for_child(member)
        scene.pause(0.01, 0.5)
    member.send(signal.SIGKILL)
    scene.pause(1)


@fault(GROUP, "SIGKILL to the dispatchers of all workers, three times", setting=TWO)
def kill_dispatchers(scene: Scene) -> None:
    for _ in range(3):
        for pid in scene.dispatchers():
            scene.signal(pid, signal.SIGKILL)
        scene.pause(0.5, 2)


@fault(GROUP, "SIGSTOP to the active and all other dispatchers for 4 s", setting=TWO)
def suspend_dispatchers(scene: Scene) -> None:
    stopped = scene.dispatchers()
    for pid in stopped:
        scene.signal(pid, signal.SIGSTOP)
    scene.pause(4)
    for pid in stopped:
        scene.signal(pid, signal.SIGCONT)


@fault(GROUP, "SIGTERM to everything at once, as a drained machine does", setting=TWO)
def stop_everything(scene: Scene) -> Sequence[Breach]:
    scene.slow_receiver(1.0)
    return stop_all(scene, *ROLES)


@fault(GROUP, "SIGTERM to all workers while Redis is away: each ends within 15 s", setting=TWO)
def stop_while_redis_is_away(scene: Scene) -> Sequence[Breach]:
    scene.redis.kill()
    scene.pause(1)
    slow = stop_all(scene, *ROLES[1:])
    scene.redis.start()
    return slow


def stop_all(scene: Scene, *roles: str) -> Sequence[Breach]:
    members = scene.fleet.of(*roles)
    for member in members:
        member.send(signal.SIGTERM)
    scene.pause(2)
    scene.calm_receiver()
    slow = [member.role for member in members if not member.ends_within(STOPS_WITHIN_S)]
    return [Breach("slow to stop", len(slow), tuple(slow))] if slow else []


@fault(GROUP, "SIGTERM to each process in turn, as a rolling restart does", setting=TWO)
def rolling_restart(scene: Scene) -> None:
    for member in scene.fleet.of():
        member.send(signal.SIGTERM)
        scene.successor(member)
        scene.pause(0.5, 1)


@fault(GROUP, "SIGHUP to every process, 30 times within 3 s", setting=TWO)
def storm_of_reloads(scene: Scene) -> None:
    for _ in range(30):
        for member in scene.fleet.of():
            member.send(signal.SIGHUP)
        scene.pause(0.1)


@fault(GROUP, "SIGSTOP and SIGCONT to every worker, 40 times within 4 s", setting=TWO)
def stutter(scene: Scene) -> None:
    for _ in range(40):
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for member in scene.fleet.of("poll", "deliver"):
                member.send(number)
            scene.pause(0.05)
