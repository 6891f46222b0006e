"""The event feed of a tenant: its events in order of creation, for clients that pull."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.domain.event import Event
from app.domain.ids import event_id
from app.domain.times import from_ms
from app.store.deliveries import about
from app.store.encryption.cipher import Cipher
from app.store.engine import keys
from app.store.engine.scripts import Scripts
from app.store.engine.unreadable import read
from app.store.registrations import Registrations

BEGINNING = "0-0"
FIELDS = ("registration", "end", "about", "observed")
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """cursor: the feed continues after it."""

    cursor: str
    event: Event


class Events:
    """A cursor is the id of an entry in the tenant's stream."""

    def __init__(self, scripts: Scripts, cipher: Cipher, registrations: Registrations) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._cipher = cipher
        self._registrations = registrations

    def read_after(self, tenant: str, cursor: str, limit: int) -> tuple[list[FeedEntry], str]:
        """Returns events after the cursor, oldest first, and the next cursor; omits no stored event that can be read.

        Raises OperatorError if the encryption key of one is missing: without its texts the event would differ.
        """
        while True:
            entries = self._redis.xrange(keys.feed(tenant), f"({cursor}", count=limit)
            if not entries:
                return [], cursor
            cursor = entries[-1][0]
            if events := self._load(entries):
                return events, cursor

    def newest(self, tenant: str) -> str:
        """Returns the cursor after the newest event."""
        entries = self._redis.xrevrange(keys.feed(tenant), count=1)
        return entries[0][0] if entries else BEGINNING

    def wait(self, tenant: str, cursor: str, longest: timedelta) -> None:
        """Waits for an event after the cursor. longest: shorter than the timeout for a reply of Redis."""
        self._redis.xread({keys.feed(tenant): cursor}, count=1, block=max(1, longest // MILLISECOND))

    def _load(self, entries: Sequence[tuple[str, dict[str, str]]]) -> list[FeedEntry]:
        """Loads the events that still exist: a stream is trimmed a little late."""
        ids = ["dlv_" + fields.get("d", "") for _, fields in entries]
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hmget(keys.delivery(id), FIELDS)
        deliveries = pipeline.execute()
        for registration, *_ in deliveries:
            pipeline.get(keys.registration(registration or ""))
            pipeline.hmget(keys.progress(registration or ""), "project", "lane")
        answers = pipeline.execute()
        found = []
        for (cursor, _), id, delivery, record, owner in zip(
            entries, ids, deliveries, answers[::2], answers[1::2], strict=True
        ):
            if delivery[0] and record:
                event = read(self._scripts, id, partial(self._event, id, delivery, record, *owner))
                found += [FeedEntry(cursor, event)] if event else []
        return found

    def _event(self, id: str, delivery: Sequence[str], record: str, project: str, lane: str) -> Event:
        registration_id, end, snapshot, observed = delivery
        registration = self._registrations.parse(registration_id, record, project=project, lane=lane)
        return Event(
            id=event_id(id),
            registration_id=registration_id,
            project=project,
            about=about(self._cipher, end, json.loads(snapshot)),
            observed_at=from_ms(int(observed)),
            metadata=registration.metadata,
        )
