"""/v1/callbacks: is anybody there?"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import TooManyRequests

from app.api.access import tenant
from app.api.deliveries import AttemptView
from app.api.fields import GivenSecret
from app.api.idempotency import IdempotencyHeader, once
from app.api.registration_models import Format
from app.api.routes import Routes, json_answer
from app.domain import callback_url, headers
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.signature import FRESH_SECRET_BYTES, PREFIX, by_secret, new_secret
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.runtime import Runtime
from app.webhooks import callback
from app.webhooks.callback import Subscriber

FIRST = 1


class CallbackTestRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    callback_url: str
    format: Format = "auto"
    secret: GivenSecret | None = Field(None, description="`whsec_` + base64 of 24 to 64 bytes; made when left out.")
    headers: dict[str, str] = Field({}, description="At most 20 more request headers.")


class CallbackTested(AttemptView):
    event_id: str
    secret: str | None = Field(description="If it was made for this test.")


class CallbackViews:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._deadline = timedelta(seconds=runtime.settings.attempt_deadline_s)
        # Subscribers may be slow: half of the threads are left to everybody else.
        self._places = BoundedSemaphore(max(1, runtime.settings.api_threads // 2))

    def routes(self) -> Routes:
        routes = Routes("callbacks")
        routes.post("/callbacks/test", responses={200: CallbackTested})(self.test)
        return routes

    def test(self, header: IdempotencyHeader, body: CallbackTestRequest) -> Response:
        """Send one `callback.test` now, as a delivery would be sent; what came of it."""
        return json_answer(once(self._runtime.claims, header, lambda: self._tested(body)))

    def _tested(self, body: CallbackTestRequest) -> str:
        callback_url.parse(body.callback_url, self._runtime.address_policy, tenant())
        headers.check(body.headers)
        secret = body.secret or new_secret(secrets.token_bytes(FRESH_SECRET_BYTES))
        subscriber = Subscriber(
            tenant=tenant(),
            url=body.callback_url,
            signers=(by_secret(secret), *self._runtime.signing_keys.signers),
            headers=body.headers,
            hidden=(secret.removeprefix(PREFIX),),
        )
        with self._place():
            tested = self._send(subscriber)
        if tested.verdict is Verdict.DELIVERED:
            self._runtime.scripts.acknowledge(self._runtime.gone_urls.remove(tenant(), body.callback_url))
        made = None if body.secret else secret
        return tested.model_copy(update={"secret": made}).model_dump_json()

    def _send(self, subscriber: Subscriber) -> CallbackTested:
        now = self._runtime.clock()
        event = Event(
            id=new_id("evt", to_ms(now), secrets.randbits(RANDOM_BITS)),
            registration_id=None,
            project=None,
            about=None,
            observed_at=now,
            metadata={},
        )
        attempt = callback.send(self._runtime.sender, subscriber, event, number=FIRST, now=now, deadline=self._deadline)
        return CallbackTested.of(callback.line(attempt, FIRST, now) | {"event_id": event.id, "secret": None})

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyRequests("too many tests at once", retry_after=int(self._deadline.total_seconds()))
        try:
            yield
        finally:
            self._places.release()
