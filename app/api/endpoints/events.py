"""/v1/events: every event of a tenant in order, for those who pull; and the same as server-sent events."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app import logs
from app.api.auth.authentication import still_good, tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.long_poll_limit import SLICE, WaitSlots
from app.api.schemas.events import EventPage
from app.api.schemas.fields import LATEST, FeedCursor, Limit, Wait, encode_cursor
from app.domain.errors import OperatorError, Unavailable
from app.formats import standard
from app.store.events import BEGINNING, Events, FeedEntry

HEARTBEAT = timedelta(seconds=5)  # so late, a client that has gone gives its place back
LONGEST = timedelta(hours=1)  # then the client comes back, perhaps to another process
AT_ONCE = 50
RECONNECT_MS = 2_000
STREAM = "text/event-stream"
AFTER = "`next_cursor` of the answer before; `latest` for what comes from now on; from the oldest when left out."


class EventQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: FeedCursor | None = Field(None, description=AFTER)
    wait_s: Wait = 0
    limit: Limit = 50


class StreamQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: FeedCursor | None = Field(None, description="As for /v1/events; `Last-Event-ID` goes before it.")


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
        """Events, oldest first. The cursor never passes one that is still to come."""
        told, place = self._found(self._place(query.after), query)
        items = b",".join(standard.render(each.event) for each in told).decode()
        return json_answer(f'{{"items":[{items}],"next_cursor":"{encode_cursor(place)}"}}')

    def stream_events(self, query: StreamQuery, header: StreamHeaders) -> Response:
        """Events as they come. It ends within the hour, or with the key: come back with `Last-Event-ID`."""
        place = self._place(header.last_event_id or query.after)
        give_back = self._wait_slots.take(tenant())
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        body = streamed(self._events, self._wait_slots, tenant(), place, still_good=still_good())
        response = Response(body, headers=headers, mimetype=STREAM)
        response.call_on_close(give_back)
        return response

    def _place(self, given: str | None) -> str:
        return self._events.newest(tenant()) if given == LATEST else given or BEGINNING

    def _found(self, place: str, query: EventQuery) -> tuple[Sequence[FeedEntry], str]:
        told, place = self._events.read_after(tenant(), place, query.limit)
        if told or not query.wait_s:
            return told, place
        with self._wait_slots.slices(tenant(), query.wait_s) as slices:
            for longest in slices:
                self._events.wait(tenant(), place, longest)
                told, place = self._events.read_after(tenant(), place, query.limit)
                if told:
                    return told, place
        return [], place


def streamed(
    events: Events,
    places: WaitSlots,
    tenant: str,
    place: str,
    *,
    still_good: Callable[[], bool],
    heartbeat: timedelta = HEARTBEAT,
) -> Iterator[bytes]:
    """An error cannot be told any more: the stream ends, and the client comes back."""
    ends = time.monotonic() + LONGEST.total_seconds()
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    said = time.monotonic()
    try:
        while not places.stopping() and time.monotonic() < ends and still_good():
            told, place = events.read_after(tenant, place, AT_ONCE)
            yield from map(_message, told)
            if told:
                said = time.monotonic()
            elif time.monotonic() >= said + heartbeat.total_seconds():
                said = time.monotonic()
                yield b": heartbeat\n\n"
            else:
                events.wait(tenant, place, SLICE)
    except Unavailable:
        return
    except OperatorError as error:
        logs.event("events.unopened", level=logging.ERROR, tenant=tenant, reason=str(error))


def _message(told: FeedEntry) -> bytes:
    head = f"id: {encode_cursor(told.cursor)}\nevent: {told.event.type}\ndata: "
    return head.encode() + standard.render(told.event) + b"\n\n"
