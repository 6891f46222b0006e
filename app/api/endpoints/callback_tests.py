"""/v1/callbacks: is anybody there?"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import TooManyRequests

from app.api.auth.authentication import tenant
from app.api.endpoints import callback_options
from app.api.endpoints.deliveries import AttemptView
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.idempotency import IdempotencyHeader, once
from app.api.schemas.fields import FormatName, GivenLink, GivenSecret
from app.bootstrap.runtime import Runtime
from app.config.format_catalog import AUTO
from app.domain import callback_url, headers
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.signature import PREFIX, by_secret
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats import cloudevents
from app.formats.format import Language, MessageOptions
from app.transport.stopwatch import Stopwatch
from app.webhooks import callback
from app.webhooks.callback import Subscriber

FIRST = 1


class CallbackTestRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    callback_url: str
    format: FormatName = AUTO
    language: Language = Language.EN
    link: GivenLink | None = None
    secret: GivenSecret | None = None
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
        url = callback_url.parse(body.callback_url, self._runtime.address_policy, tenant())
        headers.check(body.headers)
        form = callback_options.chosen(self._runtime.catalogue, body.format, url)
        secret = callback_options.checked_secret(form, url, body.secret)
        link = body.link or self._runtime.settings.link
        subscriber = Subscriber(
            tenant=tenant(),
            format=form,
            wishes=MessageOptions(url.raw, None if form.machine else body.secret, body.language, link),
            signers=(by_secret(secret), *self._runtime.signing_keys.signers) if form.machine else (),
            headers=body.headers,
            hidden=(secret.removeprefix(PREFIX),),
        )
        with self._place():
            tested = self._send(subscriber)
        if tested.verdict is Verdict.DELIVERED:
            self._runtime.scripts.run_replicated(self._runtime.gone_urls.remove(tenant(), body.callback_url))
        made = None if body.secret else secret or None
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
        watch = Stopwatch()
        asks = self._runtime.handshake if subscriber.format is cloudevents.FORMAT else None
        attempt = (asks and asks.refusal(subscriber, None, self._deadline, watch)) or callback.send(
            self._runtime.sender, subscriber, [event], number=FIRST, now=now, deadline=self._deadline, watch=watch
        )
        return CallbackTested.of(callback.line(attempt, FIRST, now) | {"event_id": event.id, "secret": None})

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyRequests("too many tests at once", retry_after=int(self._deadline.total_seconds()))
        try:
            yield
        finally:
            self._places.release()
