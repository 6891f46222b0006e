"""/v1/deliveries: the log."""

from collections.abc import Mapping
from typing import Any, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import NotFound

from app.api.access import tenant
from app.api.fields import DeliveryCursor, GivenMoment, Limit, Moment, PreciseMoment, encode_cursor
from app.api.routes import Routes, json_answer
from app.domain.delivery import DeliveryState
from app.domain.event import EventType
from app.domain.times import from_ms
from app.domain.verdict import Verdict
from app.store.deliveries import Deliveries, Delivery


class DeliveryPath(BaseModel):
    id: str = Field(pattern=r"^dlv_[0-9a-z]{26}$")


class DeliveryQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: DeliveryCursor | None = None
    registration_id: str | None = None
    state: DeliveryState | None = None
    since: GivenMoment | None = None
    until: GivenMoment | None = None

    def wants(self, delivery: Delivery) -> bool:
        return self.registration_id in (None, delivery.registration_id) and self.state in (None, delivery.state)


class AttemptView(BaseModel):
    number: int
    id: str
    started_at: PreciseMoment
    took_ms: int
    verdict: Verdict
    status_code: int | None = None
    error: str | None = None
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
    type: EventType
    registration_id: str
    job_id: str
    destination: str
    state: DeliveryState
    attempt_count: int
    created_at: Moment
    next_at: Moment | None

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
            **more,
        )


class DeliveryWithAttempts(DeliveryView):
    attempts: list[AttemptView]


class DeliveryPage(BaseModel):
    items: list[DeliveryView]
    next_cursor: str | None


class DeliveryViews:
    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def routes(self) -> Routes:
        routes = Routes("deliveries")
        routes.get("/deliveries", responses={200: DeliveryPage})(self.list)
        routes.get("/deliveries/<id>", responses={200: DeliveryWithAttempts})(self.show)
        return routes

    def list(self, query: DeliveryQuery) -> Response:
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

    def show(self, path: DeliveryPath) -> Response:
        """One delivery and its attempts, oldest first."""
        known = self._deliveries.get(tenant(), path.id)
        if known is None:
            raise NotFound
        delivery, lines = known
        attempts = [AttemptView.of(line) for line in lines]
        return json_answer(DeliveryWithAttempts.of(delivery, attempts=attempts).model_dump_json())
