"""The feed of a tenant: its events in the order in which they came to be, for those who pull."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.domain.event import Event
from app.domain.ids import event_id
from app.domain.times import from_ms
from app.store.deliveries import about
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.registrations import Registrations

BEGINNING = "0-0"
FIELDS = ("registration", "end", "about", "observed")
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """place: behind it the feed goes on."""

    cursor: str
    event: Event


class Events:
    """A place is the id of an entry in the tenant's stream."""

    def __init__(self, redis: Client, registrations: Registrations) -> None:
        self._redis = redis
        self._registrations = registrations

    def read_after(self, tenant: str, place: str, limit: int) -> tuple[list[FeedEntry], str]:
        """Oldest first, and the place to go on at; nothing that is kept is left out.

        OperatorError if the key that sealed one of them is missing: without its metadata it would be another event.
        """
        while True:
            entries = self._redis.xrange(keys.feed(tenant), f"({place}", count=limit)
            if not entries:
                return [], place
            place = entries[-1][0]
            if told := self._load(entries):
                return told, place

    def newest(self, tenant: str) -> str:
        """The place behind all that there is."""
        entries = self._redis.xrevrange(keys.feed(tenant), count=1)
        return entries[0][0] if entries else BEGINNING

    def wait(self, tenant: str, place: str, longest: timedelta) -> None:
        """Until there is more behind the place, or the time is up: less than an answer of Redis may take."""
        self._redis.xread({keys.feed(tenant): place}, count=1, block=max(1, longest // MILLISECOND))

    def _load(self, entries: Sequence[tuple[str, dict[str, str]]]) -> list[FeedEntry]:
        """Those that are still kept: a stream is cut a little late."""
        ids = ["dlv_" + fields["d"] for _, fields in entries]
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hmget(keys.delivery(id), FIELDS)
        deliveries = pipeline.execute()
        for registration, *_ in deliveries:
            pipeline.get(keys.registration(registration or ""))
            pipeline.hmget(keys.progress(registration or ""), "project", "lane")
        answers = pipeline.execute()
        return [
            FeedEntry(place, self._event(id, delivery, record, *whose))
            for (place, _), id, delivery, record, whose in zip(
                entries, ids, deliveries, answers[::2], answers[1::2], strict=True
            )
            if delivery[0] and record
        ]

    def _event(self, id: str, delivery: Sequence[str], record: str, project: str, lane: str) -> Event:
        registration_id, end, snapshot, observed = delivery
        registration = self._registrations.parse(registration_id, record, project=project, lane=lane)
        return Event(
            id=event_id(id),
            registration_id=registration_id,
            project=project,
            about=about(end, json.loads(snapshot)),
            observed_at=from_ms(int(observed)),
            metadata=registration.metadata,
        )
