"""A history: steps that callers, CPH, receivers, workers and time take. A seed generates one.

A step is a tuple: its name, which is a method of Player (player.py), and its arguments. Numbers of registrations,
deliveries and tasks are taken modulo how many there are, so that any part of a history is a history.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from tests.simulate.gate import GateFault
from tests.simulate.world import CLOUD_MODES, JOBS, RECEIVER_MODES, REQUESTS, URLS

Step = tuple[Any, ...]
Draw = Callable[[Random], Step]

TENANTS = ("anna", "ben")
SUSPENDS = (GateFault.SUSPEND_BEFORE, GateFault.SUSPEND_AFTER)
KINDS = ("poll", "deliver")
WORKERS = 2  # of each kind
WAITS = (0.02, 0.3, 1, 1, 3, 3, 7, 12, 12, 31, 31, 61, 130, 700, 4_000, 90_000)
DEADLINES = (15, 60, 600, 600, 600, 10_800)
MANY = 1_000


def history(seed: int, length: int) -> list[Step]:
    """Generates the steps of a seed. The last ones decide what happens to running jobs and receivers that fail."""
    random = Random(seed)
    names = list(DRAWS)
    # Each seed has its own mix, in which some kinds of steps are missing: histories of one kind go deeper.
    weights = [WEIGHTS[name] * (1 if name in ALWAYS else random.choice((0, 1, 1, 3))) for name in names]
    steps = [("job", job, random.choice(("running", "running", "succeeded"))) for job in JOBS if random.random() < 0.7]
    steps += [_register(random) for _ in range(random.randrange(1, 4))]
    while len(steps) < length:
        steps.append(DRAWS[random.choices(names, weights)[0]](random))
    # Jobs that never end are polled until their deadlines, which takes most of the time: few histories have some.
    share = 1 if random.random() < 0.93 else 0.7
    steps += [("job", job, random.choice(("succeeded", "failed"))) for job in JOBS if random.random() < share]
    return steps + [("receiver", url, "ok") for url in range(len(URLS)) if random.random() < 0.95]


def _register(random: Random) -> Step:
    """register: tenant, URL (-1: none), request, jobs, jobs that have ended, notify, events, deadline, verify."""
    kind = random.choice(("jobs", "jobs", "request", "submission", "submission"))
    request = random.choice(REQUESTS) if kind != "jobs" else None
    jobs = tuple(sorted(random.sample(JOBS, random.randrange(1, 4)))) if kind != "request" else ()
    ended = ("refused",) if kind == "submission" and random.random() < 0.3 else ()
    return (
        "register",
        random.choice(TENANTS),
        random.randrange(-1, len(URLS)),
        request,
        jobs,
        ended,
        random.choice(("each", "all", "both")),
        random.choice(("all", "all", "all", "failed", "ends")),
        random.choice(DEADLINES),
        random.random() < 0.2,
    )


def _worker(name: str) -> Draw:
    return lambda random: (name, random.choice(KINDS), random.randrange(WORKERS), random.randrange(MANY))


def _numbered(name: str) -> Draw:
    return lambda random: (name, random.randrange(MANY))


def _fault(random: Random) -> Step:
    fault = random.choice((*GateFault, *SUSPENDS, *SUSPENDS))
    return ("fault", str(fault), random.randrange(1, 8), random.randrange(2, 12) if fault in SUSPENDS else 0)


DRAWS: Mapping[str, Draw] = {
    "register": _register,
    "repeat": lambda _: ("repeat",),
    "cancel": _numbered("cancel"),
    "rotate": lambda random: ("rotate", random.randrange(MANY), random.choice((0, 10, 600))),
    "redeliver": _numbered("redeliver"),
    "redeliver_dead": lambda random: ("redeliver_dead", random.choice(TENANTS)),
    "pause": _numbered("pause"),
    "resume": _numbered("resume"),
    "discard": _numbered("discard"),
    "read": lambda random: ("read", random.choice(TENANTS), random.randrange(1, 4)),
    "job": lambda random: ("job", random.choice(JOBS), random.choice(("running", "running", "succeeded", "failed"))),
    "forget": lambda random: ("forget", random.choice(JOBS)),
    "hide": lambda random: ("hide", random.choice(JOBS)),
    "cloud": lambda random: ("cloud", random.choice(CLOUD_MODES)),
    "receiver": lambda random: ("receiver", random.randrange(len(URLS)), random.choice(RECEIVER_MODES)),
    "wait": lambda random: ("wait", random.choice(WAITS)),
    "tick": lambda _: ("tick",),
    "turn": _worker("turn"),
    "claim": _worker("claim"),
    "work": _worker("work"),
    "record": _worker("record"),
    "fault": _fault,
}

ALWAYS = ("register", "wait", "turn", "fault")
WEIGHTS: Mapping[str, float] = {
    "register": 7, "repeat": 2, "cancel": 3, "rotate": 2, "redeliver": 3, "redeliver_dead": 1, "pause": 1.5,
    "resume": 2, "discard": 0.7, "read": 2, "job": 5, "forget": 1.5, "hide": 1.5, "cloud": 4, "receiver": 5, "wait": 14,
    "tick": 4, "turn": 24, "claim": 8, "work": 10, "record": 5, "fault": 14,
}  # fmt: skip


def printable(steps: Sequence[Step]) -> str:
    return "".join(f"    {step!r},\n" for step in steps)
