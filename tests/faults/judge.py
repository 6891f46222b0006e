"""Judges the promises from what callers were told, what the receiver got, and what the feed says."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import quantiles
from typing import Any

from tests.faults.load import GROUP_FINISHED, Order
from tests.faults.receiver import ReceivedCallback

# How late the receiver's own thread may be on a busy machine.
SLACK_S = 0.3
TESTS = ("callback.test",)
LOG = ".log"
ALARMS = re.compile(r'"event": "(record\.unreadable|redis\.data_lost|counts\.corrected|secrets\.unencrypted)"')


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise. examples: a few of the cases, for people."""

    promise: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.promise} × {self.count} ({self.examples[0]})"


@dataclass
class Evidence:
    """All that was seen from outside.

    feeds: all events by tenant, read at the end. followed: the ids that a follower has read meanwhile, by tenant.
    logs: lines by process, and other texts that must hold no secret: Redis' files, the environment of dispatchers.
    fault_began, fault_ended: monotonic, s. poisoned: by how much metrics may be off. damaged: the fault damages data
    in Redis, so logs may report damage. last_words: processes may end by themselves, with a last line that is no
    JSON. forgotten: what was acknowledged before the fault's end may be lost. replaced: Redis fails over to a
    replica; by the contract an event may then be told twice, with the same id and later times.
    """

    orders: Sequence[Order]
    callbacks: Sequence[ReceivedCallback]
    feeds: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    followed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    fault_began: float = 0.0
    fault_ended: float = 0.0
    poisoned: int = 0
    damaged: bool = False
    last_words: bool = False
    forgotten: bool = False
    replaced: bool = False


Found = Iterable[tuple[str, str]]  # promise, example


def judge(evidence: Evidence) -> list[Breach]:
    checks = (
        _lost,
        _after_cancel,
        _false_outcomes,
        _twice,
        _unstable,
        _unsigned,
        _feed,
        _metrics,
        _secrets,
        _log_lines,
        _errors,
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    if evidence.forgotten:
        evidence = replace(
            evidence,
            orders=[order for order in evidence.orders if order.sent > evidence.fault_ended],
            feeds={},
            metrics={},
        )
    for check in checks:
        for promise, example in check(evidence):
            found[promise].append(example)
    return [Breach(promise, len(examples), tuple(examples[:5])) for promise, examples in found.items()]


def missing(orders: Iterable[Order], callbacks: Iterable[ReceivedCallback]) -> list[str]:
    """Callbacks that are owed and have not arrived."""
    arrived = {(event["data"]["registration_id"], *_kind(event)) for event in _events(callbacks, accepted=True)}
    return [
        f"{order.id} {job or 'group'} {name}"
        for order in orders
        if order.owed and order.path and order.bystander
        for job, name in order.wanted
        if (order.id, job, name) not in arrived
    ]


def recovery_s(evidence: Evidence) -> float | None:
    """From the end of the fault to the first callback of anybody."""
    after = [callback.at for callback in evidence.callbacks if callback.at >= evidence.fault_ended]
    return min(after) - evidence.fault_ended if after else None


def delays_s(orders: Iterable[Order], callbacks: Iterable[ReceivedCallback], since: float, until: float) -> list[float]:
    """From the end of a job (or its registration, if that was later) to its callback, for jobs that ended in a span."""
    first: dict[tuple[str, str], float] = {}
    for callback in callbacks:
        event = _event(callback)
        if event and (job := event["data"].get("job")):
            first.setdefault((event["data"]["registration_id"], job["job_id"]), callback.at)
    ends = (
        (max(job.ends, order.acknowledged), (order.id, job.job_id))
        for order in orders
        if order.bystander
        for job in order.jobs
        if order.owed and order.path and order.notify != "all"
    )
    return [first[key] - ended for ended, key in ends if since <= ended <= until and key in first]


def percentile_95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=0.0)


def _lost(evidence: Evidence) -> Found:
    for example in missing(evidence.orders, evidence.callbacks):
        yield "lost", example
    told = {(event["data"]["registration_id"], *_kind(event)) for feed in evidence.feeds.values() for event in feed}
    for order in evidence.orders:
        if order.owed and order.bystander and evidence.feeds:
            for job, name in order.wanted:
                if (order.id, job, name) not in told:
                    yield "lost from the feed", f"{order.id} {job or 'group'} {name}"


def _after_cancel(evidence: Evidence) -> Found:
    cancelled = {order.path: order for order in evidence.orders if order.cancelled and order.path}
    for callback in evidence.callbacks:
        order = cancelled.get(callback.path)
        if order and callback.at > order.cancelled + SLACK_S:
            yield "attempt after cancel", f"{order.id} {callback.at - order.cancelled:.2f} s after its 204"


def _false_outcomes(evidence: Evidence) -> Found:
    truth = {order.id: {job.job_id: job.outcome for job in order.jobs} for order in evidence.orders if order.id}
    told = {event["id"]: event for feed in evidence.feeds.values() for event in feed}
    told |= {event["id"]: event for event in _events(evidence.callbacks)}
    for event in told.values():
        data = event["data"]
        expected = truth.get(data["registration_id"])
        if expected is None or event["type"] in TESTS:
            continue
        if event["type"] == GROUP_FINISHED:
            group = data["group"]
            counts = Counter(expected.values())
            if (group["succeeded"], group["failed"]) != (counts["job.succeeded"], counts["job.failed"]):
                yield "false outcome", f"{data['registration_id']} group {group}"
        elif expected.get(data["job"]["job_id"]) != event["type"]:
            yield "false outcome", f"{data['registration_id']} {data['job']['job_id']} told as {event['type']}"


def _twice(evidence: Evidence) -> Found:
    ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for event in (*_events(evidence.callbacks), *(event for feed in evidence.feeds.values() for event in feed)):
        if event["type"] not in TESTS:
            ids[event["data"]["registration_id"], _kind(event)[0]].add(event["id"])
    for (registration, job), different in ids.items():
        if len(different) > 1:
            promise = "terminal event twice" if job else "group.finished twice"
            yield promise, f"{registration} {job}: {sorted(different)}"
    registered: defaultdict[str, set[str]] = defaultdict(set)
    for callback in evidence.callbacks:
        if parsed := _event(callback):
            registered[callback.path].add(parsed["data"]["registration_id"])
    for path, registrations in registered.items():
        if len(registrations) > 1:
            yield "registered twice", f"{path}: {sorted(registrations)}"


def _unstable(evidence: Evidence) -> Found:
    bodies: defaultdict[str, set[bytes]] = defaultdict(set)
    for callback in evidence.callbacks:
        parsed = _event(callback)
        if parsed is None or parsed["id"] != callback.id:
            yield "id or body unstable", f"webhook-id {callback.id} over {callback.body[:80]!r}"
        else:
            bodies[callback.id].add(_timeless(parsed) if evidence.replaced else callback.body)
    for id, different in bodies.items():
        if len(different) > 1:
            yield "id or body unstable", f"{id} has {len(different)} bodies"
    told = {event["id"]: event for feed in evidence.feeds.values() for event in feed}
    for event in _events(evidence.callbacks):
        if event["id"] in told and _timeless(told[event["id"]]) != _timeless(event):
            yield "id or body unstable", f"{event['id']} differs between callback and feed"


def _timeless(event: Mapping[str, Any]) -> bytes:
    """The event without the times at which the bridge saw it."""
    data = {name: value for name, value in event["data"].items() if name != "observed_at"}
    return json.dumps({**event, "timestamp": "", "data": data}).encode()


def _unsigned(evidence: Evidence) -> Found:
    secrets = {order.path: order.secret for order in evidence.orders if order.path}
    for callback in evidence.callbacks:
        if callback.path in secrets and not callback.is_signed_with(secrets[callback.path]):
            yield "signature invalid", f"{callback.path} {callback.id}"


def _feed(evidence: Evidence) -> Found:
    for tenant, feed in evidence.feeds.items():
        kept, followed = ([event["id"] for event in feed], list(evidence.followed.get(tenant, ())))
        if evidence.replaced:
            kept, followed = sorted(set(kept)), sorted(set(followed) & set(kept))
        for id, count in Counter(kept).items():
            if count > 1:
                yield "feed not exactly once", f"{tenant} {id} × {count}"
        if followed != kept:
            at = next((n for n, (a, b) in enumerate(zip(followed, kept, strict=False)) if a != b), None)
            yield "feed not in order", f"{tenant}: read {len(followed)}, kept {len(kept)}, differ from number {at}"


def _metrics(evidence: Evidence) -> Found:
    for name, value in evidence.metrics.items():
        if abs(value) > evidence.poisoned:
            yield "metrics disagree", f"{name} is {value:g} at the end"


def _secrets(evidence: Evidence) -> Found:
    for process, lines in evidence.logs.items():
        for line in lines:
            for secret in evidence.secrets:
                if secret in line:
                    yield "secret in the clear", f"{process}: {line[:60]}…"


def _log_lines(evidence: Evidence) -> Found:
    for log, lines in evidence.logs.items():
        for line in lines if log.endswith(LOG) else ():
            if not evidence.last_words and not (line.startswith("{") and line.endswith("}")):
                yield "log line is no JSON", f"{log}: {line[:60]}"
            elif not evidence.damaged and ALARMS.search(line):
                yield "false alarm", f"{log}: {line[:300]}"


def _errors(evidence: Evidence) -> Found:
    for status, count in evidence.statuses.items():
        if status >= 500 and status != 503:
            yield from [("API answers an error of its own", f"{status}")] * count


def _kind(event: Mapping[str, Any]) -> tuple[str, str]:
    """(job or '', event type)"""
    job = event["data"].get("job")
    return (job["job_id"] if job else "", event["type"])


def _event(callback: ReceivedCallback) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(callback.body)
    except ValueError:
        return None
    return event if "id" in event and "data" in event else None


def _events(callbacks: Iterable[ReceivedCallback], *, accepted: bool = False) -> list[dict[str, Any]]:
    wanted = (callback for callback in callbacks if callback.accepted or not accepted)
    return [event for callback in wanted if (event := _event(callback))]
