"""/v1/events: a tenant's events in order, to be pulled or streamed as server-sent events."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app import logs
from app.api.auth.authentication import credential_check, tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.long_poll_limit import SLICE, WaitSlots
from app.api.schemas.events import EventPage
from app.api.schemas.fields import LATEST, FeedCursor, Limit, Wait, encode_cursor
from app.domain.errors import OperatorError, Unavailable
from app.formats import standard
from app.store.events import BEGINNING, Events, FeedEntry

HEARTBEAT = timedelta(seconds=5)  # after this time at most, a disconnected client's slot is released
MAX_STREAM_TIME = timedelta(hours=1)  # then the client reconnects, perhaps to another process
BATCH_SIZE = 50
RECONNECT_MS = 2_000
STREAM = "text/event-stream"
AFTER = "`next_cursor` of the previous answer; `latest`: new events only. If omitted, starts at the oldest event."


class EventQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: FeedCursor | None = Field(None, description=AFTER)
    wait_s: Wait = 0
    limit: Limit = 50


class StreamQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: FeedCursor | None = Field(None, description="As for /v1/events; `Last-Event-ID` takes precedence.")


class StreamHeaders(BaseModel):
    last_event_id: FeedCursor | None = Field(None, alias="Last-Event-ID", description="`id` of the last event seen.")


class EventViews:
    def __init__(self, events: Events, wait_slots: WaitSlots) -> None:
        self._events = events
        self._wait_slots = wait_slots

    def routes(self) -> Routes:
        routes = Routes("events")
        routes.get("/events", responses={200: EventPage})(self.list_events)
        stream = {"description": "Server-sent events.", "content": {STREAM: {"schema": {"type": "string"}}}}
        routes.get("/events/stream", responses={200: stream})(self.stream_events)
        return routes

    def list_events(self, query: EventQuery) -> Response:
        """Lists events, oldest first. Paging with `next_cursor` never skips an event."""
        entries, cursor = self._read(self._cursor(query.after), query)
        items = b",".join(standard.render(entry.event) for entry in entries).decode()
        return json_answer(f'{{"items":[{items}],"next_cursor":"{encode_cursor(cursor)}"}}')

    def stream_events(self, query: StreamQuery, header: StreamHeaders) -> Response:
        """Streams the events after the cursor (default: the oldest), then new ones as they come.

        Ends within an hour, or when the key ends: reconnect with `Last-Event-ID`.
        """
        cursor = self._cursor(header.last_event_id or query.after)
        release_slot = self._wait_slots.acquire(tenant())
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        body = event_stream(self._events, self._wait_slots, tenant(), cursor, key_is_valid=credential_check())
        response = Response(body, headers=headers, mimetype=STREAM)
        response.call_on_close(release_slot)
        return response

    def _cursor(self, after: str | None) -> str:
        return self._events.newest(tenant()) if after == LATEST else after or BEGINNING

    def _read(self, cursor: str, query: EventQuery) -> tuple[Sequence[FeedEntry], str]:
        entries, cursor = self._events.read_after(tenant(), cursor, query.limit)
        if entries or not query.wait_s:
            return entries, cursor
        credential = credential_check()
        with self._wait_slots.slices(tenant(), query.wait_s) as slices:
            for longest in slices:
                credential.require()
                self._events.wait(tenant(), cursor, longest)
                entries, cursor = self._events.read_after(tenant(), cursor, query.limit)
                if entries:
                    return entries, cursor
        return [], cursor


def event_stream(
    events: Events,
    wait_slots: WaitSlots,
    tenant: str,
    cursor: str,
    *,
    key_is_valid: Callable[[], bool],
    heartbeat: timedelta = HEARTBEAT,
) -> Iterator[bytes]:
    """Yields server-sent events. Ends on an error, because the response has begun; the client reconnects."""
    ends = time.monotonic() + MAX_STREAM_TIME.total_seconds()
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    last_sent = time.monotonic()
    try:
        while not wait_slots.stopping() and time.monotonic() < ends and key_is_valid():
            entries, cursor = events.read_after(tenant, cursor, BATCH_SIZE)
            yield from map(_message, entries)
            if entries:
                last_sent = time.monotonic()
            elif time.monotonic() >= last_sent + heartbeat.total_seconds():
                last_sent = time.monotonic()
                yield b": heartbeat\n\n"
            else:
                events.wait(tenant, cursor, SLICE)
    except Unavailable:
        return
    except OperatorError as error:
        logs.event("events.undecryptable", level=logging.ERROR, tenant=tenant, reason=str(error))


def _message(entry: FeedEntry) -> bytes:
    head = f"id: {encode_cursor(entry.cursor)}\nevent: {entry.event.type}\ndata: "
    return head.encode() + standard.render(entry.event) + b"\n\n"
