"""/v1/deliveries: the log, and once more."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import Conflict

from app.api.auth.authentication import tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import IdempotencyHeader, idempotent
from app.api.schemas.fields import (
    AnyEventType,
    DeliveryCursor,
    GivenMoment,
    Limit,
    Moment,
    PreciseMoment,
    encode_cursor,
)
from app.bootstrap.stores import Stores
from app.domain.delivery import DeliveryState
from app.domain.times import from_ms
from app.domain.verdict import Verdict
from app.store.deliveries import DeadOnes, Delivery


class DeliveryPath(BaseModel):
    id: str = Field(pattern=r"^dlv_[0-9a-z]{26}$")


class DeliveryQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: DeliveryCursor | None = None
    registration_id: str | None = None
    state: DeliveryState | None = None
    destination: str | None = None
    since: GivenMoment | None = None
    until: GivenMoment | None = None

    def wants(self, delivery: Delivery) -> bool:
        return (
            self.registration_id in (None, delivery.registration_id)
            and self.state in (None, delivery.state)
            and self.destination in (None, delivery.destination)
        )


class RedeliverRequest(BaseModel):
    """Which of the dead deliveries: as in the list of deliveries."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["dead"]
    destination: str | None = None
    registration_id: str | None = None
    since: GivenMoment | None = None
    until: GivenMoment | None = None
    dry_run: bool = Field(False, strict=True, description="Only counts them.")


class Redelivered(BaseModel):
    count: int


class AttemptView(BaseModel):
    number: int
    id: str
    started_at: PreciseMoment
    took_ms: int
    timings: dict[str, float] = Field({}, description="Where the time went, as far as it came.")
    verdict: Verdict
    status_code: int | None = None
    error: str | None = Field(None, description="Why there is no answer, if there is none.")
    service_message: str | None = Field(
        None, description="What the answer means, in words, where its status does not say it all."
    )
    digest: list[str] | None = Field(None, description="Ids of all events of the message, if it told of several.")
    response_excerpt: str | None = None
    next_at: PreciseMoment | None = None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        """line: as it was logged, moments in milliseconds."""
        next_at = line.get("next_at")
        moments = {"started_at": from_ms(line["started_at"]), "next_at": from_ms(next_at) if next_at else None}
        return cls.model_validate({**line, **moments})


class DeliveryView(BaseModel):
    id: str
    event_id: str
    type: AnyEventType
    registration_id: str
    job_id: str | None = Field(description="None for all jobs of the registration together.")
    destination: str
    state: DeliveryState
    attempt_count: int
    created_at: Moment
    next_at: Moment | None
    reason: str | None = Field(description="Why it is dead.")

    @classmethod
    def of(cls, delivery: Delivery, **more: list[AttemptView]) -> Self:
        return cls(
            id=delivery.id,
            event_id=delivery.event_id,
            type=delivery.type,
            registration_id=delivery.registration_id,
            job_id=delivery.job_id,
            destination=delivery.destination,
            state=delivery.state,
            attempt_count=delivery.attempts,
            created_at=delivery.created_at,
            next_at=delivery.next_at,
            reason=delivery.death.description if delivery.death else None,
            **more,
        )


class DeliveryWithAttempts(DeliveryView):
    attempts: list[AttemptView]


class DeliveryPage(BaseModel):
    items: list[DeliveryView]
    next_cursor: str | None


class DeliveryViews:
    """redeliver_rate: per second and destination, when many dead deliveries are sent again."""

    def __init__(self, stores: Stores, redeliver_rate: float) -> None:
        self._deliveries = stores.deliveries
        self._claims = stores.claims
        self._clock = stores.clock
        self._rate = redeliver_rate

    def routes(self) -> Routes:
        routes = Routes("deliveries")
        routes.get("/deliveries", responses={200: DeliveryPage})(self.list_deliveries)
        routes.get("/deliveries/<delivery:id>", responses={200: DeliveryWithAttempts})(self.get_delivery)
        routes.post("/deliveries/<delivery:id>/redeliver", responses={202: DeliveryWithAttempts})(self.redeliver)
        routes.post("/deliveries/redeliver", responses={202: Redelivered})(self.redeliver_dead)
        return routes

    def list_deliveries(self, query: DeliveryQuery) -> Response:
        """Deliveries, newest first."""
        found, cursor = self._deliveries.page(
            tenant(),
            limit=query.limit,
            cursor=query.cursor,
            since=query.since,
            until=query.until,
            wanted=query.wants,
        )
        page = DeliveryPage(items=[DeliveryView.of(delivery) for delivery in found], next_cursor=encode_cursor(cursor))
        return json_answer(page.model_dump_json())

    def get_delivery(self, path: DeliveryPath) -> Response:
        """One delivery and its attempts, oldest first."""
        return json_answer(self._shown(path.id))

    def redeliver(self, path: DeliveryPath, header: IdempotencyHeader) -> Response:
        """Send the same event once more, now; the schedule begins anew."""
        return json_answer(idempotent(self._claims, header, lambda: self._redelivered(path.id)), 202)

    def redeliver_dead(self, header: IdempotencyHeader, body: RedeliverRequest) -> Response:
        """Send dead deliveries once more, oldest first and paced; what has been redelivered is dead no more."""
        return json_answer(idempotent(self._claims, header, lambda: self._dead_redelivered(body)), 202)

    def _redelivered(self, id: str) -> str:
        state = self._deliveries.redeliver(tenant(), id, self._clock())
        if state is None:
            raise NoSuchId
        if state is DeliveryState.CANCELLED:
            raise Conflict("its registration is cancelled: nothing is sent for it any more")
        return self._shown(id)

    def _dead_redelivered(self, body: RedeliverRequest) -> str:
        which = DeadOnes(
            registration_id=body.registration_id, destination=body.destination, since=body.since, until=body.until
        )
        count = self._deliveries.redeliver_dead(tenant(), which, self._clock(), rate=self._rate, dry_run=body.dry_run)
        return Redelivered(count=count).model_dump_json()

    def _shown(self, id: str) -> str:
        known = self._deliveries.get(tenant(), id)
        if known is None:
            raise NoSuchId
        delivery, lines = known
        attempts = [AttemptView.of(line) for line in lines]
        return DeliveryWithAttempts.of(delivery, attempts=attempts).model_dump_json()
