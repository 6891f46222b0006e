"""Faults of the bridge's own processes."""

import signal
from functools import partial

from tests.faults.catalog import define, fault
from tests.faults.scene import Scene, Setting

GROUP = "processes"
ROLES = ("api", "poll", "deliver")
TWO = Setting(workers=2)


def kill_often(scene: Scene, *roles: str, number: int = signal.SIGKILL, times: int = 3) -> None:
    for _ in range(times):
        scene.pick(*roles).send(number)
        scene.pause(0.3, 2.0)


def kill_all(scene: Scene, *roles: str) -> None:
    scene.fleet.restart(*roles)
    scene.pause(2)


def suspend(scene: Scene, role: str, seconds: float) -> None:
    """Suspends one process of the role with everything that it started."""
    member = scene.pick(role)
    for pid in member.family():
        scene.signal(pid, signal.SIGSTOP)
    scene.pause(seconds)
    for pid in member.family():
        scene.signal(pid, signal.SIGCONT)


def add(role: str) -> None:
    define(
        GROUP,
        f"kill-{role}",
        f"SIGKILL to a random {role} process, three times",
        lambda scene: kill_often(scene, role),
        setting=TWO,
    )
    define(
        GROUP,
        f"stop-{role}",
        f"SIGTERM to a random {role} process, three times",
        lambda scene: kill_often(scene, role, number=signal.SIGTERM),
        setting=TWO,
    )
    define(
        GROUP,
        f"kill-all-{role}",
        f"SIGKILL to all {role} processes at once, with their children",
        lambda scene: kill_all(scene, role),
        setting=TWO,
    )
    define(
        GROUP,
        f"suspend-{role}",
        f"SIGSTOP to a {role} process and its children for 4 s",
        lambda scene: suspend(scene, role, 4),
        setting=TWO,
    )


for role in ROLES:
    add(role)
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
    kill_all(scene, *ROLES)


@fault(GROUP, "SIGKILL to a poll and a deliver worker at the same moment, three times", setting=TWO)
def kill_two_at_once(scene: Scene) -> None:
    for _ in range(3):
        for role in ("poll", "deliver"):
            scene.pick(role).send(signal.SIGKILL)
        scene.pause(0.5, 2.5)


@fault(GROUP, "SIGKILL to a worker within 0.5 s of its start, five times in a row", setting=TWO)
def kill_soon_after_start(scene: Scene) -> None:
    member = scene.pick("poll", "deliver")
    for _ in range(5):
        member.send(signal.SIGKILL)
        member = scene.successor(member)
        scene.pause(0.01, 0.5)
    member.send(signal.SIGKILL)
    scene.pause(1)


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
def stop_everything(scene: Scene) -> None:
    for member in scene.fleet.of():
        member.send(signal.SIGTERM)
    scene.pause(4)


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


@fault(GROUP, "SIGTERM to a deliver worker while its receiver is slow, then SIGKILL after a second", setting=TWO)
def kill_while_stopping(scene: Scene) -> None:
    scene.slow_receiver(2.0)
    member = scene.pick("deliver")
    member.send(signal.SIGTERM)
    scene.pause(1)
    member.send(signal.SIGKILL)
    scene.pause(3)
    scene.calm_receiver()
