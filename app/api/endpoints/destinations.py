"""/v1/destinations: shows, pauses and resumes the destinations of callbacks, and discards their deliveries."""

from datetime import datetime
from typing import Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app import logs
from app.api.auth.authentication import tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import IdempotencyHeader, idempotent
from app.api.schemas.fields import DestinationCursor, Limit, Moment, encode_cursor
from app.bootstrap.stores import Stores
from app.domain.destination import Breaker, Destination, DestinationState, split_lane
from app.store.destinations import Destinations


class DestinationPath(BaseModel):
    id: str = Field(pattern=r"^dst_[0-9a-f]{16}$")


class DestinationQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: DestinationCursor | None = None


class DestinationError(BaseModel):
    at: Moment
    reason: str


class DestinationView(BaseModel):
    id: str
    destination: str = Field(description="Scheme, host and port; for a chat bot also which bot.")
    format: str | None = Field(description="Format of a chat bot's messages; null for other destinations.")
    state: DestinationState = Field(description="`paused` and `disabled`: deliveries are on hold until `resume`.")
    held_since: Moment | None
    breaker: Breaker = Field(description="`open`: no attempt before `next_try_at`; `half_open`: one at a time.")
    next_try_at: Moment | None
    failures: int = Field(description="Consecutive failures.")
    failing_since: Moment | None
    last_answer_at: Moment | None
    last_error: DestinationError | None
    concurrency: int = Field(description="Current limit of simultaneous attempts.")
    deliveries: int = Field(description="Deliveries that are pending or on hold.")
    last_registered_at: Moment

    @classmethod
    def of(cls, destination: Destination, now: datetime) -> Self:
        failed_at = destination.failed_at
        return cls(
            id=destination.id,
            destination=destination.address,
            format=destination.format,
            state=destination.state,
            held_since=destination.on_hold_since,
            breaker=destination.breaker(now),
            next_try_at=destination.next_try_at(now),
            failures=destination.failures,
            failing_since=destination.failing_since,
            last_answer_at=destination.answered_at,
            last_error=DestinationError(at=failed_at, reason=destination.failure or "") if failed_at else None,
            concurrency=destination.concurrency,
            deliveries=destination.deliveries,
            last_registered_at=destination.used_at,
        )


class DestinationPage(BaseModel):
    items: list[DestinationView]
    next_cursor: str | None


class Discarded(BaseModel):
    discarded: int = Field(description="Deliveries that were on hold and are now dead.")


class DestinationViews:
    def __init__(self, stores: Stores, destinations: Destinations) -> None:
        self._destinations = destinations
        self._claims = stores.claims
        self._clock = stores.clock

    def routes(self) -> Routes:
        routes = Routes("destinations")
        routes.get("/destinations", responses={200: DestinationPage})(self.list_destinations)
        routes.get("/destinations/<id>", responses={200: DestinationView})(self.get_destination)
        routes.post("/destinations/<id>/pause", responses={200: DestinationView})(self.pause_destination)
        routes.post("/destinations/<id>/resume", responses={200: DestinationView})(self.resume_destination)
        routes.post("/destinations/<id>/discard", responses={200: Discarded})(self.discard_deliveries)
        return routes

    def list_destinations(self, query: DestinationQuery) -> Response:
        """Lists destinations, sorted by address."""
        found, cursor = self._destinations.page(tenant(), limit=query.limit, cursor=query.cursor)
        now = self._clock()
        items = [DestinationView.of(destination, now) for destination in found]
        return json_answer(DestinationPage(items=items, next_cursor=encode_cursor(cursor)).model_dump_json())

    def get_destination(self, path: DestinationPath) -> Response:
        """Returns a destination."""
        return json_answer(self._render(path.id))

    def pause_destination(self, path: DestinationPath, header: IdempotencyHeader) -> Response:
        """Puts the destination's deliveries on hold: no attempt starts from now on."""
        return json_answer(idempotent(self._claims, header, lambda: self._paused(path.id)))

    def resume_destination(self, path: DestinationPath, header: IdempotencyHeader) -> Response:
        """Sends deliveries on hold, and retries a failing destination at once."""
        return json_answer(idempotent(self._claims, header, lambda: self._resumed(path.id)))

    def discard_deliveries(self, path: DestinationPath, header: IdempotencyHeader) -> Response:
        """Discards the destination's deliveries on hold; none if the destination is neither paused nor disabled."""
        return json_answer(idempotent(self._claims, header, lambda: self._discarded(path.id)))

    def _render(self, id: str) -> str:
        return DestinationView.of(self._find(id), self._clock()).model_dump_json()

    def _paused(self, id: str) -> str:
        self._destinations.pause(self._find(id).lane, self._clock())
        return self._render(id)

    def _resumed(self, id: str) -> str:
        lane = self._find(id).lane
        if self._destinations.resume(lane, self._clock()):
            logs.event("destination.reopened", tenant=tenant(), destination=split_lane(lane)[1])
        return self._render(id)

    def _discarded(self, id: str) -> str:
        discarded = self._destinations.discard(self._find(id).lane, self._clock())
        return Discarded(discarded=discarded).model_dump_json()

    def _find(self, id: str) -> Destination:
        found = self._destinations.get(tenant(), id)
        if found is None:
            raise NoSuchId
        return found
