"""/v1/deliveries: lists deliveries and their attempts, and redelivers them."""

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
from app.store.deliveries import DeadDeliveryFilter, Delivery


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
    """Selects dead deliveries; the filters are those of the list of deliveries."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["dead"]
    destination: str | None = None
    registration_id: str | None = None
    since: GivenMoment | None = None
    until: GivenMoment | None = None
    dry_run: bool = Field(False, strict=True, description="Only counts the deliveries.")


class Redelivered(BaseModel):
    count: int


class AttemptView(BaseModel):
    number: int
    id: str
    started_at: PreciseMoment
    took_ms: int
    timings: dict[str, float] = Field({}, description="Milliseconds of each phase that the attempt reached.")
    verdict: Verdict
    status_code: int | None = None
    error: str | None = Field(None, description="Why there is no answer.")
    service_message: str | None = Field(
        None, description="Meaning of the service's answer, if the status code alone does not tell it."
    )
    digest: list[str] | None = Field(None, description="Ids of all events of the message, if it has several.")
    fallback: bool | None = Field(None, description="Whether the message was sent again in its simplest form.")
    response_excerpt: str | None = None
    next_at: PreciseMoment | None = None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        """line: the stored log line, with times in milliseconds."""
        next_at = line.get("next_at")
        times = {"started_at": from_ms(line["started_at"]), "next_at": from_ms(next_at) if next_at else None}
        # Versions before 0.1.0 stored the message as `said`.
        return cls.model_validate({"service_message": line.get("said"), **line, **times})


class DeliveryView(BaseModel):
    id: str
    event_id: str
    type: AnyEventType
    registration_id: str
    job_id: str | None = Field(description="Null if the event is about all jobs of the registration.")
    destination: str
    state: DeliveryState
    attempt_count: int
    created_at: Moment
    next_at: Moment | None
    reason: str | None = Field(description="Why the delivery is dead.")

    @classmethod
    def of(cls, delivery: Delivery, **extra: list[AttemptView]) -> Self:
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
            **extra,
        )


class DeliveryWithAttempts(DeliveryView):
    attempts: list[AttemptView]


class DeliveryPage(BaseModel):
    items: list[DeliveryView]
    next_cursor: str | None


class DeliveryViews:
    """redeliver_rate: deliveries per second to one destination when dead deliveries are redelivered in bulk."""

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
        """Lists deliveries, newest first."""
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
        """Returns a delivery and its attempts, oldest first."""
        return json_answer(self._render(path.id))

    def redeliver(self, path: DeliveryPath, header: IdempotencyHeader) -> Response:
        """Sends the same event again now and restarts the retry schedule."""
        return json_answer(idempotent(self._claims, header, lambda: self._redelivered(path.id)), 202)

    def redeliver_dead(self, header: IdempotencyHeader, body: RedeliverRequest) -> Response:
        """Redelivers dead deliveries, oldest first and rate-limited; a redelivered one is no longer dead."""
        return json_answer(idempotent(self._claims, header, lambda: self._dead_redelivered(body)), 202)

    def _redelivered(self, id: str) -> str:
        state = self._deliveries.redeliver(tenant(), id, self._clock())
        if state is None:
            raise NoSuchId
        if state is DeliveryState.CANCELLED:
            raise Conflict("its registration is cancelled, so its deliveries are no longer sent")
        return self._render(id)

    def _dead_redelivered(self, body: RedeliverRequest) -> str:
        selected = DeadDeliveryFilter(
            registration_id=body.registration_id, destination=body.destination, since=body.since, until=body.until
        )
        count = self._deliveries.redeliver_dead(
            tenant(), selected, self._clock(), rate=self._rate, dry_run=body.dry_run
        )
        return Redelivered(count=count).model_dump_json()

    def _render(self, id: str) -> str:
        known = self._deliveries.get(tenant(), id)
        if known is None:
            raise NoSuchId
        delivery, lines = known
        attempts = [AttemptView.of(line) for line in lines]
        return DeliveryWithAttempts.of(delivery, attempts=attempts).model_dump_json()
