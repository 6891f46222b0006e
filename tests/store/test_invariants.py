"""In whatever order things happen: nobody waits for what nobody asks for, counts agree, nothing is left behind."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings, load
from app.cph.client import Answered, Listed, Listing, MayNotList, NoSuchRequest, Outcome, Unanswered, Unknown
from app.domain.cadence import Cadence
from app.domain.delivery import DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.registration import Notify, Registration
from app.domain.verdict import Verdict
from app.store.durations import SeenDurations
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
PROJECT = "default"
REQUEST_OF: Mapping[str, str | None] = {"a": "r", "b": "r", "c": "s", "d": None}
ENDS = (JobState.SUCCEEDED, JobState.FAILED)
# What stays for ever: indexes, paces, what is known of a project. All of it is bounded, or forgets by itself.
INDEXES = ("cph:regs:", "cph:dlvs:", "cph:dests:", "cph:tenant:", "cph:counts")
LASTING = (*INDEXES, "cph:poll:lane:", "cph:deliver:lane:", "cph:wake:", "cph:project:")

jobs = st.sampled_from(sorted(REQUEST_OF))
requests = st.sampled_from(["r", "s"])
notifies = st.sampled_from(Notify)
operations = st.sampled_from([{}, {"operation": "restart"}])
deadlines = st.sampled_from([20 * SECOND, timedelta(hours=6), timedelta(hours=6)])


@dataclass
class ModelCloud:
    """CPH, as far as the poller sees it: knows the jobs that it was told of, and answers in the mood that it is in.

    cut: it shows one job of a list at a time.
    """

    credentials_expire_at = None
    clock_ahead = None
    states: dict[str, JobState] = field(default_factory=dict)
    mood: Unanswered | MayNotList | None = None
    cut: bool = False

    def show_job(self, job_id: str) -> Outcome:
        if isinstance(self.mood, Unanswered):
            return self.mood
        return Answered(self._job(job_id)) if job_id in self.states else Unknown()

    def list_jobs(
        self, request_ids: Sequence[str], enough: Set[str] | None = None, *, first_page: int = 0, **_: Any
    ) -> Listing:
        if self.mood:
            return self.mood
        known = [job for job in self.states if REQUEST_OF[job] in request_ids]
        if {REQUEST_OF[job] for job in known} != set(request_ids):
            return NoSuchRequest()
        shown = known[first_page : first_page + 1] if self.cut else known[first_page:]
        ended = tuple(self._job(job) for job in shown if self.states[job].ended)
        running = frozenset(job for job in shown if not self.states[job].ended)
        return Listed(running, ended, calls=1, cut=self.cut and first_page + 1 < len(known))

    def _job(self, id: str) -> Job:
        return Job(id, self.states[id], status=1, request_id=REQUEST_OF[id])


class BridgeMachine(RuleBasedStateMachine):
    """Callers, CPH and poll workers, one step at a time; a worker may stop for ever between any two of its steps."""

    def __init__(self, runtime: Runtime, registration: Callable[..., Registration], now: datetime) -> None:
        super().__init__()
        runtime.stores.redis.flushall()
        self.runtime, self.make, self.now = runtime, registration, now
        self.cloud = ModelCloud()
        self.polling = PollWorker(
            agenda=runtime.stores.polls_due,
            watches=runtime.stores.watches,
            requests=runtime.stores.requests,
            clients={PROJECT: self.cloud},
            health=HealthRecorder(runtime.stores.polls_due, runtime.config.rate_of),
            schedule=PollSchedule(
                Cadence(SECOND, 5 * SECOND), SeenDurations(runtime.stores.redis, lambda: self.now, retention=SECOND)
            ),
            lost_grace=10 * SECOND,
            telemetry=Telemetry(runtime.metric_registry, None),
            clock=lambda: self.now,
            crash_point=lambda _: None,
        )
        self.made: list[Registration] = []
        self.tasks: list[Any] = []
        self.answers: list[Sequence[ScriptCall]] = []

    @rule(
        job_ids=st.sets(jobs, min_size=1),
        request=st.none() | requests,
        brought=st.none() | jobs,
        deadline=deadlines,
        notify=notifies,
        metadata=operations,
    )
    def register(self, job_ids: set[str], request: str | None, brought: str | None, **fields: Any) -> None:
        """By ids; or as a submission, which may be wrong about its request, and know an end."""
        ended = (Job(brought, JobState.FAILED),) if request and brought else ()
        self._register(*sorted(job_ids - {job.job_id for job in ended}), request_id=request, ended=ended, **fields)

    @rule(request=requests, deadline=deadlines, notify=notifies, metadata=operations)
    def register_request(self, request: str, **fields: Any) -> None:
        self._register(request_id=request, **fields)

    def _register(self, *job_ids: str, deadline: timedelta, **fields: Any) -> None:
        made = self.make(at=self.now, **{"job_ids": job_ids, "deadline_at": self.now + deadline} | fields)
        self.runtime.stores.registrations.add(made)
        self.made.append(made)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.runtime.stores.registrations.cancel("t", data.draw(st.sampled_from([made.id for made in self.made])))

    @rule(job=jobs, state=st.sampled_from([JobState.RUNNING, *ENDS]))
    def happen(self, job: str, state: JobState) -> None:
        if self.cloud.states.get(job) not in ENDS:
            self.cloud.states[job] = state

    @rule(job=jobs)
    def vanish(self, job: str) -> None:
        self.cloud.states.pop(job, None)

    @rule(mood=st.sampled_from([None, None, Unanswered("HTTP 500"), MayNotList("CPS.0006")]))
    def change_mood(self, mood: Unanswered | MayNotList | None) -> None:
        self.cloud.mood = mood

    @rule(cut=st.booleans())
    def change_pages(self, cut: bool) -> None:
        self.cloud.cut = cut

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.runtime.stores.watches.end_overdue(self.now, 100)

    @rule()
    def claim(self) -> None:
        claimed = claim_due(self.runtime.stores.polls_due, self.now, 100)
        self.tasks += self.polling.prepare(claimed) if claimed else ()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        self.answers.append(self.polling.do(self.tasks.pop(data.draw(st.integers(0, len(self.tasks) - 1)))))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        self.runtime.stores.scripts.run_all(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    @rule()
    def poll(self) -> None:
        """One that nothing disturbs."""
        while claimed := claim_due(self.runtime.stores.polls_due, self.now, 100):
            for task in self.polling.prepare(claimed):
                self.runtime.stores.scripts.run_all(self.polling.do(task))

    @invariant()
    def holds(self) -> None:
        check(Stored(self.runtime))

    def teardown(self) -> None:
        """CPH recovers, every job that it knows ends: then so does all else, and long before its deadline."""
        self.cloud.mood = None
        for job in self.cloud.states:
            self.happen(job, JobState.SUCCEEDED)
        long_before = {made.id for made in self.made if made.deadline_at > self.now + timedelta(hours=1)}
        overdue_before = Counter(self._overdue())
        for _ in range(20):
            self.poll()
            self.wait(5)
        self.holds()
        for made in self.made:
            assert self.runtime.stores.redis.hget(keys.progress(made.id), "state") in ("finished", "cancelled"), made.id
        assert not {id for id, _ in Counter(self._overdue()) - overdue_before} & long_before
        self._deliver()
        self.now += timedelta(minutes=1)
        for agenda in (self.runtime.stores.polls_due, self.runtime.stores.deliveries_due):
            assert claim_due(agenda, self.now, 1) == ()
        redis = self.runtime.stores.redis
        assert [key for key in redis.scan_iter() if redis.ttl(key) < 0 and not key.startswith(LASTING)] == []

    def _overdue(self) -> Iterator[tuple[str, str]]:
        for made in self.made:
            for name, value in self.runtime.stores.redis.hgetall(keys.progress(made.id)).items():
                if value == JobState.OVERDUE:
                    yield made.id, name

    def _deliver(self) -> None:
        while claimed := claim_due(self.runtime.stores.deliveries_due, self.now, 100):
            for begun in self.runtime.stores.deliveries.begin(claimed, self.now + SECOND):
                record = self.runtime.stores.deliveries.record
                call = record(begun.claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
                self.runtime.stores.scripts.run(call)


class Stored:
    """All that is in Redis of the polling half."""

    def __init__(self, stores: Stores) -> None:
        redis = stores.redis
        found = [key for key in redis.scan_iter(count=1_000) if redis.type(key) == "hash"]
        pipeline = redis.pipeline()
        for key in found:
            pipeline.hgetall(key)
            pipeline.ttl(key)
        answers = pipeline.execute()
        hashes = dict(zip(found, answers[::2], strict=True))
        self.ttl = dict(zip(found, answers[1::2], strict=True))
        self.watches = _under(hashes, f"cph:watch:{PROJECT}:")
        self.open_watches = {job: watch for job, watch in self.watches.items() if "job" not in watch}
        self.requests = _under(hashes, f"cph:request:{PROJECT}:")
        self.registrations = {key.split(":")[1]: fields for key, fields in hashes.items() if key.endswith(":progress")}
        self.deliveries = list(_under(hashes, "cph:dlv:").values())
        self.agenda = {id for key in (keys.due, keys.leased) for id in redis.zrange(key("poll", PROJECT), 0, -1)}
        self.deadlines = set(redis.zrange(keys.deadlines(), 0, -1))
        self.counts = {name: int(count) for name, count in redis.hgetall(keys.counts()).items()}
        self.tenant_counts = {what: int(count) for what, count in hashes.get(keys.tenant_counts("t"), {}).items()}
        self.told = [keys.delivery("dlv_" + fields["d"]) for _, fields in redis.xrange(keys.feed("t"))]


def _under(hashes: Mapping[str, dict[str, str]], prefix: str) -> dict[str, dict[str, str]]:
    return {key.removeprefix(prefix): fields for key, fields in hashes.items() if key.startswith(prefix)}


def check(stored: Stored) -> None:
    for job in stored.watches.keys() - stored.open_watches.keys():
        assert stored.ttl[keys.watch(PROJECT, job)] > 0, f"{job} has ended and is kept for ever"
    for job, watch in stored.open_watches.items():
        answering = [id for id, request in stored.requests.items() if f"job:{job}" in request]
        assert job in stored.agenda or answering, f"nobody asks for {job}"
        assert any(name.startswith("reg_") for name in watch), f"nobody waits for {job}"
    for id, request in stored.requests.items():
        assert f"request:{id}" in stored.agenda, f"nobody asks for request {id}: {request}"
    asked_for = {f"request:{id}" for id in stored.requests} | stored.open_watches.keys()
    assert stored.agenda <= asked_for, "asked for, though nobody waits"
    states = [f"watch:{watch['state']}" for watch in stored.open_watches.values()]
    states += [f"delivery:{each['state']}" for each in stored.deliveries if each["state"] == "pending"]
    counted = {name: count for name, count in stored.counts.items() if count and not name.startswith("ended:")}
    assert counted == Counter(states)
    for id, progress in stored.registrations.items():
        check_registration(stored, id, progress)
    watching = sum("state" not in progress for progress in stored.registrations.values())
    pending = sum(each["state"] == "pending" for each in stored.deliveries)
    assert stored.tenant_counts.get("registrations", 0) == watching
    assert stored.tenant_counts.get("deliveries", 0) == pending
    assert sorted(stored.told) == sorted(key for key in stored.ttl if key.startswith("cph:dlv:"))


def check_registration(stored: Stored, id: str, progress: dict[str, str]) -> None:
    ends = {name.removeprefix("job:"): end for name, end in progress.items() if name.startswith("job:")}
    deliveries = [each for each in stored.deliveries if each["registration"] == id]
    counts = Counter(each["state"] for each in deliveries)
    for state in ("pending", "delivered", "dead"):
        assert int(progress.get(state, 0)) == counts[state]
    told = Counter((each["job_id"], each["end"]) for each in deliveries)
    assert set(told.values()) <= {1}, told
    ended = "state" in progress
    assert (id in stored.deadlines) is not ended
    assert (stored.ttl[keys.progress(id)] > 0) is (ended and not counts["pending"])
    looking = any(id in request for request in stored.requests.values())
    if progress.get("state") == "cancelled":
        assert not looking
        assert not any(id in watch for watch in stored.open_watches.values())
        return
    waits = [job for job, end in ends.items() if not end]
    assert int(progress["open"]) == len(waits) + looking
    assert ended is (progress["open"] == "0")
    for job in waits:
        assert id in stored.open_watches[job], f"nobody will tell {id} of {job}"
    events = progress.get("events", "succeeded,failed,lost,overdue").split(",")
    expected = {(job, end) for job, end in ends.items() if end in events}
    assert set(told) == expected | ({("", "finished")} if ended and "finished" in events else set())


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Leases end soon, and nothing has to wait for a budget."""
    short = {"BRIDGE_LEASE_S": "21", "BRIDGE_CPH_TIMEOUT_S": "5", "BRIDGE_ATTEMPT_DEADLINE_S": "5"}
    quick = {"BRIDGE_LOST_GRACE_S": "10", "BRIDGE_REQUEST_QUIET_S": "10", "BRIDGE_CPH_RATE": "100000"}
    return load(environment | short | quick)


def test_nothing_is_forgotten_whatever_happens(runtime: Runtime, registration, now: datetime) -> None:
    run_state_machine_as_test(
        lambda: BridgeMachine(runtime, registration, now),
        settings=hypothesis_settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
