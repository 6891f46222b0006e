"""Which items wait, and for how long, when the budget is too small. Real scripts and Redis; tests set the time."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain.times import to_ms
from app.store.agenda import Agenda, Claimed, LaneLimits
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from app.store.requests import is_request
from app.store.watches import Watch, Watches
from tests.support.claims import claim_due, put_due

SECOND = timedelta(seconds=1)
STEP = timedelta(milliseconds=100)


@dataclass
class Lateness:
    """How late each claim of an item was, after the settling time."""

    lateness: list[timedelta]
    interval: timedelta

    @property
    def relative(self) -> float:
        """Mean lateness in intervals."""
        return sum(self.lateness, timedelta()) / len(self.lateness) / self.interval


class SimulatedProject:
    """Jobs and requests of one CPH project, each with its own polling interval."""

    def __init__(self, runtime: Runtime, rate: float, now: datetime) -> None:
        self._runtime = runtime
        limits = LaneLimits(rate=rate, burst=1, concurrency=256)
        self.agenda = Agenda(runtime.stores.scripts, "poll", lease=60 * SECOND, limits=limits)
        self._watches = Watches(runtime.stores.scripts, runtime.stores.cipher, retention=60 * SECOND)
        self._intervals: dict[str, timedelta] = {}
        self.now = now

    def add(self, count: int, interval: timedelta, *, requests: bool = False) -> None:
        redis = self._runtime.stores.redis
        for number in range(count):
            name = f"{interval.total_seconds():g}-{number}"
            id = f"request:{name}" if requests else name
            if requests:
                redis.hset(keys.request("p", name), mapping={"since": 0, "job:j": 1, "tenants": "t"})
            else:
                redis.hset(keys.watch("p", id), mapping={"state": "running", "tenants": "t"})
            self._intervals[id] = interval
            due = self.now + interval * number / count
            put_due(redis, "poll", "p", {id: to_ms(due)})

    def pass_time(self, length: timedelta, settling: timedelta) -> dict[str, Lateness]:
        """Claims ten times a second. Each claimed item is polled at once, and is due again after its interval."""
        seen = {id: Lateness([], interval) for id, interval in self._intervals.items()}
        begin = self.now
        for item in self._claim_until(begin + length):
            if self.now >= begin + settling:
                seen[item.id].lateness.append(self.now - item.due_at)
        return seen

    def _claim_until(self, end: datetime) -> Iterator[Claimed]:
        calls: list[ScriptCall] = []
        while self.now < end:
            self.now += STEP
            answers = self._runtime.stores.scripts.run_all([*calls, self.agenda.claim(self.now, 64)])
            items = Agenda.claimed(answers[-1])
            calls = [self._postpone(item) for item in items]
            yield from items
        self._runtime.stores.scripts.run_all(calls)

    def _postpone(self, item: Claimed) -> ScriptCall:
        due = self.now + self._intervals[item.id]
        if is_request(item):
            return self._runtime.stores.requests.postpone(item, self.now, due)
        return self._watches.postpone(item, Watch("p", item.id, self.now, None, None, ()), due, self.now)


def schedule(stores: Stores, lane: str, due: datetime, id: str) -> None:
    put_due(stores.redis, "poll", lane, {id: to_ms(due)})


@pytest.mark.slow
def test_requests_are_on_time_and_jobs_wait_in_proportion_to_their_cadence(runtime: Runtime, now: datetime) -> None:
    """Requests need five calls a second and jobs fifty; the rate allows twenty."""
    project = SimulatedProject(runtime, rate=20, now=now)
    project.add(5, SECOND, requests=True)
    for count, interval in ((36, SECOND), (40, 5 * SECOND), (24, 8 * SECOND), (90, 30 * SECOND)):
        project.add(count, interval)
    seen = project.pass_time(600 * SECOND, settling=200 * SECOND)
    requests = [seen.pop(id) for id in list(seen) if id.startswith("request:")]
    assert max(late for request in requests for late in request.lateness) <= 2 * STEP
    assert all(len(one.lateness) >= 2 for one in seen.values())
    relative = [one.relative for one in seen.values()]
    assert min(relative) > 1
    assert max(relative) / min(relative) < 2.5


@pytest.mark.slow
def test_requests_that_want_the_whole_budget_leave_the_jobs_a_share(runtime: Runtime, now: datetime) -> None:
    project = SimulatedProject(runtime, rate=8, now=now)
    project.add(40, SECOND, requests=True)
    project.add(10, SECOND)
    project.add(10, 30 * SECOND)
    seen = project.pass_time(400 * SECOND, settling=100 * SECOND)
    claims: dict[bool, int] = defaultdict(int)
    for id, one in seen.items():
        claims[id.startswith("request:")] += len(one.lateness)
    assert all(one.lateness for one in seen.values())
    assert claims[True] / claims[False] == pytest.approx(7, rel=0.05)


def test_nobody_is_late_where_the_budget_suffices(runtime: Runtime, now: datetime) -> None:
    project = SimulatedProject(runtime, rate=20, now=now)
    project.add(5, SECOND, requests=True)
    project.add(8, SECOND)
    project.add(30, 30 * SECOND)
    seen = project.pass_time(60 * SECOND, settling=10 * SECOND)
    assert max(late for one in seen.values() for late in one.lateness) <= STEP


def test_after_a_long_pause_those_that_wait_longest_for_their_cadence_are_first(
    runtime: Runtime, now: datetime
) -> None:
    project = SimulatedProject(runtime, rate=1, now=now)
    project.add(3, SECOND)
    project.add(3, 30 * SECOND)
    project.add(1, 30 * SECOND, requests=True)
    project.pass_time(60 * SECOND, settling=60 * SECOND)
    project.now += timedelta(hours=1)
    batch = claim_due(runtime.stores.polls_due, project.now, 4)
    assert [item.id.split("-")[0] for item in batch] == ["request:30", "1", "1", "1"]


def test_requests_that_have_passed_nobody_owe_nobody_a_turn(runtime: Runtime, now: datetime) -> None:
    project = SimulatedProject(runtime, rate=2, now=now)
    project.add(1, SECOND, requests=True)
    project.add(1, 30 * SECOND)
    project.pass_time(29 * SECOND, settling=29 * SECOND)
    assert [item.id for item in claim_due(project.agenda, now + 32 * SECOND, 1)] == ["request:1-0"]


def test_a_job_that_is_new_stands_behind_requests_that_came_later(stores: Stores, registration, now) -> None:
    stores.registrations.add(registration("new"))
    schedule(stores, "default", now + SECOND, "request:r")
    assert [item.id for item in claim_due(stores.polls_due, now + SECOND, 1)] == ["request:r"]


def test_what_tries_a_refused_lane_is_what_has_waited_longest(stores: Stores, registration, now) -> None:
    """Otherwise the breaker of a project that may call ShowJob, but not ListJobs, would stay open."""
    polls = stores.polls_due
    stores.registrations.add(registration("older", at=now))
    schedule(stores, "default", now + SECOND, "request:r")
    polls.open_breaker("default", now, 2 * SECOND, ())
    assert [item.id for item in claim_due(polls, now + 2 * SECOND, 10)] == ["older"]
