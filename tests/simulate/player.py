"""Plays a history: each step on the real stores and workers, with the model watching. Then lets everything end."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from random import Random, seed
from typing import TypeVar

from app.domain.delivery import DeliveryState
from app.domain.destination import lane_of
from app.domain.errors import InvalidField, Unavailable
from app.domain.event import EventType
from app.domain.ids import new_id
from app.domain.job import Job, JobState
from app.domain.registration import Notify, Registration
from app.domain.signature import new_secret
from app.domain.times import from_ms, to_ms
from app.store.agenda import DELIVER, POLL
from app.store.deliveries import DeadDeliveryFilter, Delivery
from app.store.events import BEGINNING
from app.store.idempotency import Idempotency
from tests.simulate.bridge import PROJECT, SimulatedBridge, SimulatedWorker
from tests.simulate.gate import Crash, GateFault
from tests.simulate.model import Known, Model, Rotation, Violation
from tests.simulate.steps import TENANTS, WORKERS, Step
from tests.simulate.world import URLS, Receivers, SimulatedCloud

T = TypeVar("T")
MILLISECOND = timedelta(milliseconds=1)
SETTLE_STEP = timedelta(seconds=10)  # at the least: precise times are for the steps
MOST_ROUNDS = 3_000  # of ticks and drains until nothing is due
EVENTS = {
    "all": tuple(EventType),
    "failed": (EventType.JOB_FAILED, EventType.GROUP_FINISHED),
    "ends": (EventType.JOB_SUCCEEDED, EventType.JOB_LOST, EventType.JOB_OVERDUE, EventType.GROUP_FINISHED),
}
REFUSED_JOB = Job(None, JobState.FAILED, error_code="CPS.0005")


class Player:
    """Its public methods are the steps (steps.py)."""

    def __init__(self, bridge: SimulatedBridge, steps: Sequence[Step]) -> None:
        bridge.reset()
        seed(len(steps))  # of the jitter
        self._bridge, self._steps, self._at = bridge, steps, 0
        self._stores, self._clock, self._gate = bridge.stores, bridge.clock, bridge.gate
        self._gate.reset(self._play)
        self._numbers = count(1)
        self._cloud = SimulatedCloud(self._gate, self._clock)
        self._model = Model(bridge, self._cloud)
        self._receivers = Receivers(self._gate, self._clock, self._model)
        self._model.use(self._receivers)
        self._workers = {
            POLL: [bridge.poll_worker(self._cloud) for _ in range(WORKERS)],
            DELIVER: [bridge.deliver_worker(self._receivers) for _ in range(WORKERS)],
        }
        self._resumed: Counter[str] = Counter()  # by lane
        self._unanswered: list[Known] = []  # registrations whose caller got no answer
        self._cursors = dict.fromkeys(TENANTS, BEGINNING)

    def run(self) -> None:
        """Raises Violation, or any error that the product should not raise."""
        self._play(len(self._steps))
        self._gate.disarm()
        self._model.check_counts()
        self._settle()

    # Steps of callers

    def register(
        self,
        tenant: str,
        url: int,
        request: str | None,
        jobs: tuple[str, ...],
        ended: tuple[str, ...],
        notify: str,
        events: str,
        deadline_s: int,
        verify: bool,
    ) -> None:
        number, now = next(self._numbers), from_ms(to_ms(self._clock()))
        target = URLS[url] if url >= 0 else ""
        registration = Registration(
            id=new_id("reg", to_ms(now), number),
            tenant=tenant,
            project=PROJECT,
            job_ids=jobs,
            callback_url=target,
            destination=target and f"https://{target.split('/')[2]}:443",
            secret=target and _secret(number),
            events=EVENTS[events],
            metadata={"number": number},
            created_at=now,
            deadline_at=now + timedelta(seconds=deadline_s),
            notify=Notify(notify),
            request_id=request,
            ended=tuple(REFUSED_JOB for _ in ended),
            verify=verify and bool(target),
        )
        if registration.subscribed_events:
            self._register(registration, f"key-{number}")

    def repeat(self) -> None:
        """A caller that got no answer registers again, with the same Idempotency-Key."""
        if self._unanswered:
            known = self._unanswered.pop()
            again = next(self._numbers)
            now = from_ms(to_ms(self._clock()))
            deadline = now + (known.registration.deadline_at - known.registration.created_at)
            changes = {"id": new_id("reg", to_ms(now), again), "created_at": now, "deadline_at": deadline}
            fields = {name: getattr(known.registration, name) for name in Registration.__slots__}
            self._register(Registration(**fields | changes), known.key)

    def cancel(self, number: int) -> None:
        if known := self._chosen(number):
            known.cancel_asked = True
            registration = known.registration
            until = self._call(lambda: self._stores.registrations.cancel(registration.tenant, registration.id))
            known.cancel_until = until or known.cancel_until

    def rotate(self, number: int, overlap_s: int) -> None:
        known = self._chosen(number)
        if known is None or not known.registration.destination:
            return
        registration, now, overlap = known.registration, from_ms(to_ms(self._clock())), timedelta(seconds=overlap_s)
        secret = _secret(10_000 + next(self._numbers))
        retired = (registration.secret, *(each.secret for each in known.rotations))
        rotation = Rotation(secret, retired, now + overlap)
        known.rotations.append(rotation)
        try:
            done = self._call(
                lambda: self._stores.registrations.change(
                    registration.tenant, registration.id, lambda current: current.rotated(secret, now, overlap)
                )
            )
        except InvalidField:  # too many secrets sign
            known.rotations.remove(rotation)
            return
        if done and known.rotations[-1] is rotation:
            rotation.answered = self._gate.passed

    def redeliver(self, number: int) -> None:
        deliveries = self._deliveries()
        if deliveries:
            chosen = deliveries[number % len(deliveries)]
            self._model.redelivery_asked([chosen.id])
            self._call(lambda: self._stores.deliveries.redeliver(chosen.tenant, chosen.id, self._clock()))
            self._model.redelivery_asked([chosen.id])

    def redeliver_dead(self, tenant: str) -> None:
        which, ids = DeadDeliveryFilter(None, None, None, None), [each.id for each in self._deliveries()]
        self._model.redelivery_asked(ids)
        self._call(lambda: self._stores.deliveries.redeliver_dead(tenant, which, self._clock(), rate=10, dry_run=False))
        self._model.redelivery_asked(ids)

    def pause(self, number: int) -> None:
        if lane := self._lane(number):
            resumed = self._resumed[lane]
            paused = self._call(lambda: self._bridge.runtime.destinations.pause(lane, self._clock()) or True)
            # If it was suspended while others resumed the destination, nobody knows which of the two came last.
            if paused and resumed == self._resumed[lane]:
                self._model.paused.setdefault(lane, self._gate.passed)

    def resume(self, number: int) -> None:
        if lane := self._lane(number):
            self._resumed[lane] += 1
            self._model.paused.pop(lane, None)
            self._call(lambda: self._bridge.runtime.destinations.resume(lane, self._clock()))
            self._model.paused.pop(lane, None)

    def discard(self, number: int) -> None:
        if lane := self._lane(number):
            self._model.discarded.add(lane)
            self._call(lambda: self._bridge.runtime.destinations.discard(lane, self._clock()))

    def read(self, tenant: str, limit: int) -> None:
        """Reads the feed on, from where this reader is."""
        cursor = self._cursors[tenant]
        found = self._call(lambda: self._stores.events.read_after(tenant, cursor, limit))
        if found and self._cursors[tenant] == cursor:  # else the reader was suspended, and another has read on
            entries, self._cursors[tenant] = found
            self._model.feed_read(tenant, [(entry.cursor, entry.event.id) for entry in entries])

    # Steps of the world

    def job(self, job: str, state: str) -> None:
        if not self._cloud.states.get(job, JobState.RUNNING).ended and self._cloud.said.get(job) in (None, state):
            self._cloud.states[job] = JobState(state)

    def forget(self, job: str) -> None:
        self._cloud.states.pop(job, None)

    def hide(self, job: str) -> None:
        self._cloud.hidden ^= {job}

    def cloud(self, mode: str) -> None:
        self._cloud.mode = mode

    def receiver(self, url: int, mode: str) -> None:
        self._receivers.modes[URLS[url]] = mode

    def wait(self, seconds: float) -> None:
        self._clock.now += timedelta(seconds=seconds)

    # Steps of the bridge

    def tick(self) -> None:
        self._call(self._bridge.dispatcher.tick)

    def turn(self, kind: str, worker: int, _: int) -> None:
        """A whole turn: claims, works, records."""

        def act(chosen: SimulatedWorker) -> None:
            self._turn(chosen, claims=True)
            while chosen.tasks:
                chosen.work(0)
            self._turn(chosen, claims=False)

        self._on(kind, worker, act)

    def claim(self, kind: str, worker: int, _: int) -> None:
        """Records what is done and claims, as the drain loop does in one round trip."""
        self._on(kind, worker, lambda chosen: self._turn(chosen, claims=True))

    def work(self, kind: str, worker: int, number: int) -> None:
        self._on(kind, worker, lambda chosen: chosen.work(number))

    def record(self, kind: str, worker: int, _: int) -> None:
        self._on(kind, worker, lambda chosen: self._turn(chosen, claims=False))

    def fault(self, name: str, countdown: int, steps: int) -> None:
        self._gate.arm(GateFault(name), countdown, steps)

    # How they are played

    def _play(self, steps: int) -> None:
        """Plays the next steps; also while a caller is suspended."""
        for name, *arguments in self._steps[self._at : self._at + steps]:
            if self._at >= len(self._steps):
                return
            self._at += 1
            self._clock.now += MILLISECOND
            getattr(self, name)(*arguments)
            self._model.answer_cancellations()

    def _call(self, call: Callable[[], T]) -> T | None:
        """A call of a process that may crash, or find Redis unavailable: None, and its caller knows nothing."""
        try:
            return call()
        except (Crash, Unavailable):
            return None

    def _on(self, kind: str, number: int, act: Callable[[SimulatedWorker], None]) -> None:
        worker = self._workers[kind][number]
        if worker.busy:
            return
        worker.busy = True
        try:
            act(worker)
        except (Crash, Unavailable):
            worker.restart()
        finally:
            worker.busy = False

    def _turn(self, worker: SimulatedWorker, *, claims: bool) -> None:
        started = self._clock()
        for each in worker.turn(claims=claims):
            self._model.recorded(each, started)

    def _register(self, registration: Registration, key: str) -> None:
        known = Known(registration, key)
        self._model.known[registration.id] = known
        idempotency = Idempotency(key, "same", registration.id)
        answer = self._call(lambda: (self._stores.registrations.add(registration, idempotency),))
        if answer is None:
            self._unanswered.append(known)
            return
        (earlier,) = answer
        self._model.known[earlier.answer if earlier else registration.id].acknowledged = True

    def _chosen(self, number: int) -> Known | None:
        known = list(self._model.known.values())
        return known[number % len(known)] if known else None

    def _deliveries(self) -> list[Delivery]:
        return sorted(self._model.deliveries().values(), key=lambda each: each.id)

    def _lane(self, number: int) -> str | None:
        known = (each.registration for each in self._model.known.values())
        lanes = sorted({lane_of(each.tenant, each.destination) for each in known if each.destination})
        return lanes[number % len(lanes)] if lanes else None

    # The end

    def _settle(self) -> None:
        """Workers restart, CPH answers, destinations are resumed. The dispatcher alone decides who works, and when."""
        settled_from = self._clock()
        self._cloud.mode = "ok"
        self._cloud.hidden.clear()
        for workers in self._workers.values():
            for worker in workers:
                worker.restart()
        self._resume_all()
        self._until_quiet()
        if any(each.state is DeliveryState.HELD for each in self._deliveries()):  # disabled after days of failures
            self._receivers.modes = dict.fromkeys(URLS, "ok")
            self._resume_all()
            self._until_quiet()
        self._model.check_end(settled_from)

    def _resume_all(self) -> None:
        for number in range(len(URLS) * len(TENANTS)):
            self.resume(number)

    def _until_quiet(self) -> None:
        for _ in range(MOST_ROUNDS):
            next_tick = self._bridge.dispatcher.tick()
            kinds = [kind for kind, queue in self._bridge.dispatcher.queues.items() if queue.count]
            for kind in kinds:
                self._bridge.dispatcher.queues[kind].count = 0
                self._drain(kind)
            if not kinds:
                if next_tick is None:
                    return
                self._clock.now = max(self._clock.now + SETTLE_STEP, next_tick)
        raise Violation("everything ends", "there is always more to do")

    def _drain(self, kind: str) -> None:
        worker = self._workers[kind][0]
        self._turn(worker, claims=True)
        while worker.tasks:
            while worker.tasks:
                worker.work(0)
            self._turn(worker, claims=True)


def _secret(number: int) -> str:
    return new_secret(Random(number).randbytes(32))
