"""Puts items on an agenda and claims them, outside a drain."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.bootstrap.stores import Stores
from app.store.agenda import DELIVER, POLL, Agenda, Claimed
from app.store.deadlines import LAST_POLL
from app.store.engine import keys
from app.store.engine.client import Client


def claim_due(agenda: Agenda, now: datetime, limit: int) -> tuple[Claimed, ...]:
    """Claims at most `limit` items of a tenant, which are half of the threads.

    It needs a round trip of its own; a drain claims in the same round trip as it records results.
    """
    return agenda.claimed(agenda._scripts.run(agenda.claim(now, 2 * limit)))


def answer_polls(stores: Stores, now: datetime) -> int:
    """Polls the jobs that are due; all of them run for another minute. Returns how many."""
    claimed = claim_due(stores.polls_due, now, 100)
    for item, watch in zip(claimed, stores.watches.load(claimed), strict=True):
        if watch:
            stores.scripts.run(stores.watches.postpone(item, watch, now + timedelta(minutes=1), now))
    return len(claimed)


def pass_deadlines(stores: Stores, at: datetime) -> None:
    """Ends the registrations whose deadline has passed; nobody answers the last poll of their jobs."""
    stores.deadlines.end_overdue(at, 100)
    stores.deadlines.end_overdue(at + LAST_POLL, 100)


def mark_answered(redis: Client) -> None:
    """Makes every destination one that has answered: a new one gets a single attempt at a time."""
    for name in redis.scan_iter(keys.lane(DELIVER, "*")):
        redis.hdel(name, "places")


def put_due(redis: Client, agenda: str, lane: str, due: Mapping[str, int], tenant: str = "t") -> None:
    """due: for each id, class and time in ms, as a score. tenant: in whose turn, if the lane is a project's."""
    redis.zadd(keys.due(agenda, lane), due)
    redis.zadd(keys.lanes(agenda), {lane: min(due.values())}, lt=True)
    if agenda == POLL:
        redis.zadd(keys.tenant_due(lane, tenant), due)
        redis.zadd(keys.turns(lane), {tenant: 0}, nx=True)
