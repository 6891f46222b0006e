"""The promises, as a plain model: what callers were told, what receivers have got, and what must hold at the end."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.domain import signature
from app.domain.delivery import Death, DeliveryState
from app.domain.destination import lane_of
from app.domain.event import Event, EventType, Group, OwnEventType
from app.domain.ids import event_id
from app.domain.job import Job, JobState
from app.domain.registration import Progress, Registration, RegistrationState
from app.domain.times import from_ms
from app.domain.verdict import Verdict
from app.store.agenda import DELIVER, POLL
from app.store.deliveries import Delivery
from app.store.deployment_stats import DeploymentStatsReader
from app.store.engine import keys
from app.store.events import BEGINNING
from app.store.registrations import Known as StoredRegistration
from tests.simulate.bridge import PROJECT, Recorded, SimulatedBridge
from tests.simulate.world import Post, Receivers, SimulatedCloud

ALL = 10_000
FAR = timedelta(hours=2)  # longer than any pause of a project


class Violation(Exception):
    """A promise was broken. kind: the promise, the same for all ways to break it."""

    def __init__(self, kind: str, detail: object) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def hold(kind: str, holds: object, detail: object = "") -> None:
    if not holds:
        raise Violation(kind, detail)


@dataclass
class Rotation:
    """answered: when the caller got the answer (Gate.passed). retired: secrets that sign until `until`."""

    secret: str
    retired: tuple[str, ...]
    until: datetime
    answered: int | None = None


@dataclass
class Known:
    """A registration that a caller has asked for. acknowledged: it got the answer. until: of the cancellation."""

    registration: Registration
    key: str
    acknowledged: bool = False
    cancel_asked: bool = False
    cancel_until: datetime | None = None
    cancelled: bool = False
    rotations: list[Rotation] = field(default_factory=list)


class Model:
    def __init__(self, bridge: SimulatedBridge, cloud: SimulatedCloud) -> None:
        self._bridge, self._cloud = bridge, cloud
        self._gate, self._clock, self._observer = bridge.gate, bridge.clock, bridge.observer
        self.known: dict[str, Known] = {}
        self.paused: dict[str, int] = {}  # lanes whose pause was answered: when (Gate.passed)
        self.redelivered: dict[str, int] = {}  # deliveries: when it was asked for (Gate.passed)
        self.discarded: set[str] = set()  # lanes
        self.feeds: dict[str, list[tuple[str, str]]] = defaultdict(list)  # by tenant: cursor and event that were read
        self._bodies: dict[str, bytes] = {}
        self._under_way: dict[str, datetime] = {}
        self._settled: dict[str, int] = {}  # events whose end was recorded: when (Gate.passed)
        self._not_before: dict[str, datetime] = {}

    # What happens

    def received(self, post: Post) -> None:
        """A request has reached a receiver."""
        event = json.loads(post.body)
        id, registration_id = event["id"], event["data"]["registration_id"]
        hold("an attempt is for its registration", registration_id in self.known, registration_id)
        known = self.known[registration_id]
        hold(
            "an attempt has the URL",
            (post.url, post.tenant) == (known.registration.callback_url, known.registration.tenant),
        )
        hold("an attempt has its event's id", id == post.headers["webhook-id"], id)
        hold("nothing starts after a cancellation was answered", not known.cancelled, id)
        paused = self.paused.get(lane_of(post.tenant, known.registration.destination))
        hold("nothing starts while its destination is paused", paused is None or post.turn <= paused, id)
        hold("an event has the same bytes on each attempt", self._bodies.setdefault(id, post.body) == post.body, id)
        hold("one attempt at a time", post.at >= self._under_way.get(id, post.at), id)
        hold("no attempt before its time", post.at >= self._not_before.get(id, post.at), id)
        hold("nothing is sent after its end was recorded", post.turn <= self._settled.get(id, post.turn), id)
        self._check_signature(known, post, id)
        self._under_way[id] = post.until

    def attempt_is_over(self, id: str) -> None:
        self._under_way.pop(id, None)

    def recorded(self, each: Recorded, started: datetime) -> None:
        """A worker has recorded the result of an attempt. started: when it began to."""
        claimed = each.begun.claimed
        for id, verdict in each.verdicts:
            if self.redelivered.get(claimed.id, -1) >= each.turn:
                continue
            if verdict is Verdict.DELIVERED:
                self._settled[id] = self._gate.passed
            elif started < claimed.lease_ends:
                self._check_schedule(each, id)

    def _check_schedule(self, each: Recorded, id: str) -> None:
        """A failure was recorded within the lease: the delivery is dead, or waits as long as its schedule says."""
        found = self._observer.deliveries.get(each.begun.tenant, each.begun.claimed.id)
        hold("a delivery does not vanish", found, id)
        delivery, lines = found
        if delivery.state is DeliveryState.DEAD:
            self._settled[id] = self._gate.passed
        elif delivery.state in (DeliveryState.PENDING, DeliveryState.HELD):
            waits = self._bridge.runtime.schedules.machines.waits
            least = waits[each.begun.try_count.number - 1]
            hold("a delivery that failed is tried again", delivery.next_at, id)
            # `next_at` is rounded down to a millisecond.
            began = from_ms(lines[-1]["started_at"]) if lines else self._clock()
            hold("no attempt before its time", delivery.next_at >= began + least - timedelta(milliseconds=1), id)
            self._not_before[id] = delivery.next_at

    def redelivery_asked(self, delivery_ids: Iterable[str]) -> None:
        for id in delivery_ids:
            self.redelivered[id] = self._gate.passed
            self._settled.pop(event_id(id), None)
            self._not_before.pop(event_id(id), None)

    def feed_read(self, tenant: str, entries: Iterable[tuple[str, str]]) -> None:
        self.feeds[tenant].extend(entries)

    def answer_cancellations(self) -> None:
        """Answers each cancellation as soon as the API may."""
        now = self._clock()
        for id, known in self.known.items():
            until = known.cancel_until
            if known.cancelled or until is None:
                continue
            known.cancelled = now >= until or not self._observer.registrations.under_way(id, now)

    def _check_signature(self, known: Known, post: Post, id: str) -> None:
        content = f"{id}.{post.headers['webhook-timestamp']}.".encode() + post.body
        signed = post.headers["webhook-signature"].split()

        def signs(secret: str) -> bool:
            return signature.by_secret(secret)(content) in signed

        last = known.rotations[-1] if known.rotations else None
        if last is None:
            hold("attempts are signed", signs(known.registration.secret), id)
        # Rotations at the same time may be recorded in either order.
        elif all(each.answered is not None for each in known.rotations) and last.answered <= post.turn:
            hold("a rotated secret signs every attempt from then on", signs(last.secret), id)
            if post.began >= last.until:
                hold("a retired secret signs nothing", not any(map(signs, last.retired)), id)

    # What must hold

    def check_counts(self) -> None:
        """The counts equal a recount."""
        stats = DeploymentStatsReader(self._observer.scripts).read(self._clock())
        stored, deliveries = self._stored(), self.deliveries()
        watching = [each for each in stored.values() if each[1].state is RegistrationState.WATCHING]
        hold("counts equal a recount", stats.watching == len(watching), "watching")
        states = Counter(each.state for each in deliveries.values())
        counted = int(self._observer.redis.hget(keys.counts(), "delivery:pending") or 0)
        pending = states[DeliveryState.PENDING] + states[DeliveryState.HELD]
        hold("counts equal a recount", counted == pending, (counted, states))
        hold(
            "counts equal a recount", stats.deliveries["dead"] == states[DeliveryState.DEAD], (stats.deliveries, states)
        )
        for tenant in self._tenants():
            stored_counts = self._observer.redis.hgetall(keys.tenant_counts(tenant))
            counts = Counter({name: int(count) for name, count in stored_counts.items()})
            own = [each for each in watching if each[0].tenant == tenant]
            hold("counts equal a recount", counts["registrations"] == len(own), (tenant, counts))
            pending = [each for each in deliveries.values() if each.tenant == tenant and each.next_at]
            hold("counts equal a recount", counts["deliveries"] == len(pending), (tenant, counts, len(pending)))

    def check_end(self, settled_from: datetime) -> None:
        """Nothing is due any more. settled_from: from then on CPH answered, and workers were not disturbed."""
        self.check_counts()
        stored, deliveries = self._stored(), self.deliveries()
        self._check_agendas()
        feeds = {tenant: self._feed(tenant) for tenant in self._tenants()}
        events = [event for feed in feeds.values() for event in feed]
        self._check_ends_for_everybody(events)
        keys_of = Counter(known.key for id, known in self.known.items() if id in stored)
        hold("an Idempotency-Key registers once", set(keys_of.values()) <= {1}, keys_of)
        for id, known in self.known.items():
            hold("an acknowledged registration exists", id in stored or not known.acknowledged, id)
            if id in stored:
                own = [event for event in events if event.registration_id == id]
                self._check_registration(known, *stored[id], own)
                self._check_truth(known, stored[id][1], own, settled_from)
                self._check_deliveries(known, own, deliveries)
        extra = deliveries.keys() - {event.id for event in events}
        hold("every delivery is of an event in the feed", not extra, extra)
        self._check_ended(stored)

    def _check_ends_for_everybody(self, events: list[Event]) -> None:
        """Once an end that CPH told was recorded for one registration, no other one ends as lost or overdue."""
        jobs = [(event.about, event.observed_at) for event in events if isinstance(event.about, Job) and _job_id(event)]
        told: dict[str, datetime] = {}
        for job, at in jobs:
            if job.state in (JobState.SUCCEEDED, JobState.FAILED):
                told[job.job_id] = min(at, told.get(job.job_id, at))
        for job, at in jobs:
            if job.state in (JobState.LOST, JobState.OVERDUE):
                hold("an end ends the job for everybody", at <= told.get(job.job_id, at), (job.job_id, at))

    def _check_agendas(self) -> None:
        for agenda in (self._observer.polls_due, self._observer.deliveries_due):
            hold("nothing is left on the agendas", agenda.next_due_at() is None, agenda.name)
        lanes = {lane_of(known.registration.tenant, known.registration.destination) for known in self.known.values()}
        for name, lane in [(POLL, PROJECT), *((DELIVER, lane) for lane in lanes)]:
            for key in (keys.due(name, lane), keys.leased(name, lane)):
                left = self._observer.redis.zrange(key, 0, -1)
                hold("nothing is left on the agendas", not left, (key, left))

    def _check_registration(self, known: Known, _: Registration, progress: Progress, own: list[Event]) -> None:
        """own: its events, in the order of the feed."""
        registration, id = known.registration, known.registration.id
        if progress.state is RegistrationState.CANCELLED:
            hold("only callers cancel", known.cancel_asked, id)
        else:
            hold("every registration ends", progress.state is RegistrationState.FINISHED, id)
            hold("a cancellation holds", known.cancel_until is None, id)
            hold("every job has an outcome", all(state.ended for state in progress.jobs.values()), (id, progress.jobs))
            hold("every job has an outcome", progress.jobs or progress.unseen or registration.ended, id)
        hold("every registered job is there", progress.jobs.keys() >= set(registration.job_ids), id)
        told = Counter((event.type, _job_id(event)) for event in own if event.type is not OwnEventType.CALLBACK_TEST)
        expected = Counter(_expected(registration, progress))
        if progress.state is RegistrationState.CANCELLED:
            # What ended before the cancellation. All jobs may have; and later ends of its jobs are shown, not told.
            expected[EventType.GROUP_FINISHED, None] = 1
            hold("each end is told once", told <= expected, (id, told, expected))
        else:
            hold("each end is told once", told == expected, (id, told, expected))
        ends = [event for event in own if event.type is not OwnEventType.CALLBACK_TEST]
        groups = [event for event in own if event.type is EventType.GROUP_FINISHED]
        for event in groups:
            hold("group.finished comes last", event is ends[-1], id)
            states = Counter(_ends(registration, progress))
            hold("group.finished has all jobs", states == Counter(_counts(event.about)), (id, states, event.about))

    def _check_truth(self, known: Known, progress: Progress, own: list[Event], settled_from: datetime) -> None:
        registration = known.registration
        for event in own:
            if not isinstance(event.about, Job):
                continue
            job, at = event.about, event.observed_at
            name = job.job_id or f"request:{registration.request_id}"
            match job.state:
                case JobState.SUCCEEDED | JobState.FAILED:
                    said = self._cloud.said.get(name) == job.state
                    hold("no outcome that CPH never said", said or job in registration.ended, (name, job.state))
                case JobState.LOST:
                    since = self._cloud.unknown.get(name, at)
                    grace = timedelta(seconds=self._bridge.runtime.settings.lost_grace_s)
                    hold("lost only after the grace time", at >= since + grace, (name, since, at))
                case JobState.OVERDUE:
                    hold("overdue only after the deadline", at >= registration.deadline_at, (name, at))
                    far = at >= settled_from and registration.deadline_at > settled_from + FAR
                    ended = name in self._cloud.states and self._cloud.states[name].ended
                    hold("an end that CPH tells is seen", not (far and ended), (name, at))
                case _:
                    raise Violation("events are of ends", (name, job.state))

    def _check_deliveries(self, known: Known, own: list[Event], deliveries: Mapping[str, Delivery]) -> None:
        for event in own:
            delivery = deliveries.get(event.id)
            if not known.registration.destination:
                hold("nobody is called without a callback", delivery is None, event.id)
                continue
            hold("every event has a delivery", delivery, event.id)
            match delivery.state:
                case DeliveryState.DELIVERED:
                    hold("delivered: a receiver has confirmed it", event.id in self._receivers.confirmed, event.id)
                case DeliveryState.DEAD:
                    hold("a death has its reason", self._may_be_dead(known.registration, delivery), delivery)
                case DeliveryState.CANCELLED:
                    hold("only callers cancel", known.cancel_asked, event.id)
                case _:
                    raise Violation("every delivery ends", delivery)

    def _may_be_dead(self, registration: Registration, delivery: Delivery) -> bool:
        answers = self._receivers.statuses.get(delivery.event_id, [])
        match delivery.death:
            case Death.TRIES | Death.GIVEN_UP:
                return delivery.attempts > len(self._bridge.runtime.schedules.machines.waits)
            case Death.REFUSED:
                return answers.count(404) >= 3
            case Death.GONE:
                return 410 in answers
            case Death.GONE_BEFORE:
                return registration.callback_url in self._receivers.gone
            case Death.DISCARDED:
                return lane_of(registration.tenant, registration.destination) in self.discarded
        return False

    def _check_ended(self, stored: Mapping[str, StoredRegistration]) -> None:
        """Each job that CPH ended is counted once, however many registrations waited for it."""
        stats = DeploymentStatsReader(self._observer.scripts).read(self._clock())
        hold("counts equal a recount", not any(stats.watches.values()), stats.watches)
        for state in (JobState.SUCCEEDED, JobState.FAILED):
            jobs = {job for _, progress in stored.values() for job, end in progress.jobs.items() if end is state}
            hold(
                "counts equal a recount", stats.ended.get((PROJECT, state), 0) == len(jobs), (state, stats.ended, jobs)
            )
        for tenant in self._tenants():
            counts = self._observer.redis.hgetall(keys.tenant_counts(tenant))
            hold("counts equal a recount", not any(int(count) for count in counts.values()), (tenant, counts))

    # What is stored

    def use(self, receivers: Receivers) -> None:
        self._receivers = receivers

    def _tenants(self) -> list[str]:
        return sorted({known.registration.tenant for known in self.known.values()})

    def _stored(self) -> dict[str, StoredRegistration]:
        pages = (
            self._observer.registrations.page(tenant, limit=ALL, cursor=None, wanted=lambda _: True)
            for tenant in self._tenants()
        )
        return {registration.id: (registration, progress) for page, _ in pages for registration, progress in page}

    def deliveries(self) -> dict[str, Delivery]:
        """By event."""
        pages = (
            self._observer.deliveries.page(
                tenant, limit=ALL, cursor=None, since=None, until=None, wanted=lambda _: True
            )
            for tenant in self._tenants()
        )
        return {delivery.event_id: delivery for page, _ in pages for delivery in page}

    def _feed(self, tenant: str) -> list[Event]:
        entries, _ = self._observer.events.read_after(tenant, BEGINNING, ALL)
        told = [(entry.cursor, entry.event.id) for entry in entries]
        read = self.feeds[tenant]
        hold("the feed has each event once", len({id for _, id in told}) == len(told), told)
        hold("a reader of the feed misses nothing", read == told[: len(read)], (tenant, read, told))
        return [entry.event for entry in entries]


def _job_id(event: Event) -> str | None:
    return event.about.job_id if isinstance(event.about, Job) else None


def _ends(registration: Registration, progress: Progress) -> list[JobState]:
    ended = [job.state for job in registration.ended if job.job_id is None]
    return [state for state in (*progress.jobs.values(), *ended, progress.unseen) if state and state.ended]


def _expected(registration: Registration, progress: Progress) -> Iterable[tuple[Any, str | None]]:
    """The events that must have been told, as type and job."""
    wanted = registration.subscribed_events
    ends = [(state, job) for job, state in progress.jobs.items() if state.ended]
    ends += [(job.state, None) for job in registration.ended if job.job_id is None]
    ends += [(progress.unseen, None)] if progress.unseen else []
    yield from ((EventType(f"job.{state}"), job) for state, job in ends if EventType(f"job.{state}") in wanted)
    if progress.state is RegistrationState.FINISHED and EventType.GROUP_FINISHED in wanted:
        yield EventType.GROUP_FINISHED, None


def _counts(group: Group) -> dict[JobState, int]:
    return {state: count for state, count in group.counts.items() if count}
