"""Model test: in whatever order things happen, open watches are polled, counts agree, and no key is left behind."""

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
from app.store.reconciler import Reconciler
from tests.support.claims import claim_due
from workers.polling.project_health import HealthRecorder
from workers.polling.schedule import PollSchedule
from workers.polling.show_job import PollWorker
from workers.telemetry import Telemetry

SECOND = timedelta(seconds=1)
PROJECT = "default"
REQUEST_OF: Mapping[str, str | None] = {"a": "r", "b": "r", "c": "s", "d": None}
ENDS = (JobState.SUCCEEDED, JobState.FAILED)
# Keys without a TTL: indexes, rates, the health of projects. Their size is bounded, or old entries are removed.
INDEXES = ("cph:regs:", "cph:dlvs:", "cph:dests:", "cph:tenant:", "cph:counts")
LASTING = (*INDEXES, "cph:poll:lane:", "cph:deliver:lane:", "cph:wake:", "cph:project:")

jobs = st.sampled_from(sorted(REQUEST_OF))
requests = st.sampled_from(["r", "s"])
notifies = st.sampled_from(Notify)
operations = st.sampled_from([{}, {"operation": "restart"}])
deadlines = st.sampled_from([20 * SECOND, timedelta(hours=6), timedelta(hours=6)])


@dataclass
class ModelCloud:
    """CPH as the poll worker sees it.

    states: the jobs that it knows. failure: what its calls return instead; MayNotList is for ListJobs only.
    cut: a call of ListJobs shows one job.
    """

    credentials_expire_at = None
    clock_ahead = None
    states: dict[str, JobState] = field(default_factory=dict)
    failure: Unanswered | MayNotList | None = None
    cut: bool = False

    def show_job(self, job_id: str) -> Outcome:
        if isinstance(self.failure, Unanswered):
            return self.failure
        return Answered(self._job(job_id)) if job_id in self.states else Unknown()

    def list_jobs(
        self, request_ids: Sequence[str], enough: Set[str] | None = None, *, first_page: int = 0, **_: Any
    ) -> Listing:
        if self.failure:
            return self.failure
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
    """Callers, CPH and poll workers, one step at a time. A worker may crash between any two of its steps."""

    def __init__(self, runtime: Runtime, registration: Callable[..., Registration], now: datetime) -> None:
        super().__init__()
        runtime.stores.redis.flushall()
        self.runtime, self.make_registration, self.now = runtime, registration, now
        self.cloud = ModelCloud()
        self.poll_worker = PollWorker(
            agenda=runtime.stores.polls_due,
            watches=runtime.stores.watches,
            requests=runtime.stores.requests,
            clients={PROJECT: self.cloud},
            health=HealthRecorder(
                runtime.stores.polls_due, runtime.config.rate_of, Telemetry(runtime.metric_registry, None)
            ),
            schedule=PollSchedule(
                Cadence(SECOND, 5 * SECOND), SeenDurations(runtime.stores.redis, lambda: self.now, retention=SECOND)
            ),
            lost_grace=10 * SECOND,
            telemetry=Telemetry(runtime.metric_registry, None),
            clock=lambda: self.now,
            crash_point=lambda _: None,
        )
        self.reconciler = Reconciler(runtime.stores.scripts, retention=runtime.settings.retention)
        self.registrations: list[Registration] = []
        self.tasks: list[Any] = []
        self.answers: list[Sequence[ScriptCall]] = []

    @rule(
        job_ids=st.sets(jobs, min_size=1),
        request=st.none() | requests,
        ended_job=st.none() | jobs,
        deadline=deadlines,
        notify=notifies,
        metadata=operations,
    )
    def register(self, job_ids: set[str], request: str | None, ended_job: str | None, **fields: Any) -> None:
        """Registers by ids, or as a submission: its request may be wrong, and a job may have ended already."""
        ended = (Job(ended_job, JobState.FAILED),) if request and ended_job else ()
        self._register(*sorted(job_ids - {job.job_id for job in ended}), request_id=request, ended=ended, **fields)

    @rule(request=requests, deadline=deadlines, notify=notifies, metadata=operations)
    def register_request(self, request: str, **fields: Any) -> None:
        self._register(request_id=request, **fields)

    def _register(self, *job_ids: str, deadline: timedelta, **fields: Any) -> None:
        made = self.make_registration(at=self.now, **{"job_ids": job_ids, "deadline_at": self.now + deadline} | fields)
        self.runtime.stores.registrations.add(made)
        self.registrations.append(made)

    @precondition(lambda self: self.registrations)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.runtime.stores.registrations.cancel(
            "t", data.draw(st.sampled_from([made.id for made in self.registrations]))
        )

    @rule(job=jobs, state=st.sampled_from([JobState.RUNNING, *ENDS]))
    def change_job(self, job: str, state: JobState) -> None:
        if self.cloud.states.get(job) not in ENDS:
            self.cloud.states[job] = state

    @rule(job=jobs)
    def remove_job(self, job: str) -> None:
        self.cloud.states.pop(job, None)

    @rule(failure=st.sampled_from([None, None, Unanswered("HTTP 500"), MayNotList("CPS.0006")]))
    def change_failure(self, failure: Unanswered | MayNotList | None) -> None:
        self.cloud.failure = failure

    @rule(cut=st.booleans())
    def change_cut(self, cut: bool) -> None:
        self.cloud.cut = cut

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.runtime.stores.deadlines.end_overdue(self.now, 100)

    @rule()
    def reconcile(self) -> None:
        """Nothing is damaged here, so it changes nothing."""
        while not self.reconciler.step(self.now):
            pass

    @rule()
    def claim(self) -> None:
        claimed = claim_due(self.runtime.stores.polls_due, self.now, 100)
        self.tasks += self.poll_worker.prepare(claimed) if claimed else ()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def do_task(self, data: st.DataObject) -> None:
        self.answers.append(self.poll_worker.do(self.tasks.pop(data.draw(st.integers(0, len(self.tasks) - 1)))))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        self.runtime.stores.scripts.run_all(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    @rule()
    def poll(self) -> None:
        """Polls everything that is due, without interruption."""
        while claimed := claim_due(self.runtime.stores.polls_due, self.now, 100):
            for task in self.poll_worker.prepare(claimed):
                self.runtime.stores.scripts.run_all(self.poll_worker.do(task))

    @invariant()
    def stored_state_is_consistent(self) -> None:
        check_stored_state(StoredState(self.runtime.stores))

    def teardown(self) -> None:
        """CPH recovers and every job that it knows ends. Then every registration ends, long before its deadline."""
        self.cloud.failure = None
        for job in self.cloud.states:
            self.change_job(job, JobState.SUCCEEDED)
        long_before = {made.id for made in self.registrations if made.deadline_at > self.now + timedelta(hours=1)}
        overdue_before = Counter(self._overdue())
        for _ in range(20):
            self.poll()
            self.wait(5)
        self.stored_state_is_consistent()
        for made in self.registrations:
            assert self.runtime.stores.redis.hget(keys.progress(made.id), "state") in ("finished", "cancelled"), made.id
        assert not {id for id, _ in Counter(self._overdue()) - overdue_before} & long_before
        self._deliver()
        self.now += timedelta(minutes=1)
        for agenda in (self.runtime.stores.polls_due, self.runtime.stores.deliveries_due):
            assert claim_due(agenda, self.now, 1) == ()
        redis = self.runtime.stores.redis
        assert [key for key in redis.scan_iter() if redis.ttl(key) < 0 and not key.startswith(LASTING)] == []

    def _overdue(self) -> Iterator[tuple[str, str]]:
        for made in self.registrations:
            for name, value in self.runtime.stores.redis.hgetall(keys.progress(made.id)).items():
                if value == JobState.OVERDUE:
                    yield made.id, name

    def _deliver(self) -> None:
        while claimed := claim_due(self.runtime.stores.deliveries_due, self.now, 100):
            for begun in self.runtime.stores.deliveries.begin(claimed, self.now + SECOND):
                record = self.runtime.stores.deliveries.record
                call = record(begun.claimed, Verdict.DELIVERED, NextStep(DeliveryState.DELIVERED), {"number": 1})
                self.runtime.stores.scripts.run(call)


class StoredState:
    """Registrations, watches, requests, deliveries and counts, as Redis stores them."""

    def __init__(self, stores: Stores) -> None:
        redis = stores.redis
        hash_keys = [key for key in redis.scan_iter(count=1_000) if redis.type(key) == "hash"]
        pipeline = redis.pipeline()
        for key in hash_keys:
            pipeline.hgetall(key)
            pipeline.ttl(key)
        answers = pipeline.execute()
        hashes = dict(zip(hash_keys, answers[::2], strict=True))
        self.ttl = dict(zip(hash_keys, answers[1::2], strict=True))
        self.watches = _under(hashes, f"cph:watch:{PROJECT}:")
        self.open_watches = {job: watch for job, watch in self.watches.items() if "job" not in watch}
        self.requests = _under(hashes, f"cph:request:{PROJECT}:")
        self.registrations = {key.split(":")[1]: fields for key, fields in hashes.items() if key.endswith(":progress")}
        self.deliveries = list(_under(hashes, "cph:dlv:").values())
        self.agenda = {id for key in (keys.due, keys.leased) for id in redis.zrange(key("poll", PROJECT), 0, -1)}
        self.deadlines = set(redis.zrange(keys.deadlines(), 0, -1))
        self.counts = {name: int(count) for name, count in redis.hgetall(keys.counts()).items()}
        self.tenant_counts = {name: int(count) for name, count in hashes.get(keys.tenant_counts("t"), {}).items()}
        self.feed = [keys.delivery("dlv_" + fields["d"]) for _, fields in redis.xrange(keys.feed("t"))]


def _under(hashes: Mapping[str, dict[str, str]], prefix: str) -> dict[str, dict[str, str]]:
    return {key.removeprefix(prefix): fields for key, fields in hashes.items() if key.startswith(prefix)}


def check_stored_state(stored: StoredState) -> None:
    for job in stored.watches.keys() - stored.open_watches.keys():
        assert stored.ttl[keys.watch(PROJECT, job)] > 0, f"{job} has ended and has no TTL"
    for job, watch in stored.open_watches.items():
        polled_by = [id for id, request in stored.requests.items() if f"job:{job}" in request]
        assert job in stored.agenda or polled_by, f"{job} is not polled"
        assert any(name.startswith("reg_") for name in watch), f"no registration waits for {job}"
    for id, request in stored.requests.items():
        assert f"request:{id}" in stored.agenda, f"request {id} is not polled: {request}"
    polled = {f"request:{id}" for id in stored.requests} | stored.open_watches.keys()
    assert stored.agenda <= polled, "polled, though no registration waits"
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
    assert sorted(stored.feed) == sorted(key for key in stored.ttl if key.startswith("cph:dlv:"))


def check_registration(stored: StoredState, id: str, progress: dict[str, str]) -> None:
    ends = {name.removeprefix("job:"): end for name, end in progress.items() if name.startswith("job:")}
    deliveries = [each for each in stored.deliveries if each["registration"] == id]
    counts = Counter(each["state"] for each in deliveries)
    for state in ("pending", "delivered", "dead"):
        assert int(progress.get(state, 0)) == counts[state]
    notified = Counter((each["job_id"], each["end"]) for each in deliveries)
    assert set(notified.values()) <= {1}, notified
    ended = "state" in progress
    assert (id in stored.deadlines) is not ended
    assert (stored.ttl[keys.progress(id)] > 0) is (ended and not counts["pending"])
    waits_for_request = any(id in request for request in stored.requests.values())
    if progress.get("state") == "cancelled":
        assert not waits_for_request
        assert not any(id in watch for watch in stored.open_watches.values())
        return
    open_jobs = [job for job, end in ends.items() if not end]
    assert int(progress["open"]) == len(open_jobs) + waits_for_request
    assert ended is (progress["open"] == "0")
    for job in open_jobs:
        assert id in stored.open_watches[job], f"{id} will not be notified of {job}"
    events = progress.get("events", "succeeded,failed,lost,overdue").split(",")
    expected = {(job, end) for job, end in ends.items() if end in events}
    assert set(notified) == expected | ({("", "finished")} if ended and "finished" in events else set())


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Short leases, and a rate that no test reaches."""
    short = {"BRIDGE_LEASE_S": "21", "BRIDGE_CPH_TIMEOUT_S": "5", "BRIDGE_ATTEMPT_DEADLINE_S": "5"}
    quick = {"BRIDGE_LOST_GRACE_S": "10", "BRIDGE_REQUEST_QUIET_S": "10", "BRIDGE_CPH_RATE": "100000"}
    return load(environment | short | quick)


def test_nothing_is_forgotten_whatever_happens(runtime: Runtime, registration, now: datetime) -> None:
    run_state_machine_as_test(
        lambda: BridgeMachine(runtime, registration, now),
        settings=hypothesis_settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
