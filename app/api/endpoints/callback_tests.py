"""/v1/callbacks/test: sends a test event to a callback URL."""

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
from app.api.middleware.idempotency import IdempotencyHeader, idempotent
from app.api.schemas.fields import FormatName, GivenLink, GivenSecret
from app.bootstrap.stores import Stores
from app.config.format_catalog import AUTO
from app.config.live_config import LiveConfig
from app.domain.event import Event
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.signature import PREFIX
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats.format import Language
from app.transport.stopwatch import Stopwatch
from app.webhooks import callback
from app.webhooks.callback import Subscriber
from app.webhooks.callback_client import CallbackClient

FIRST_ATTEMPT = 1


class CallbackTestRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    callback_url: str
    format: FormatName = AUTO
    language: Language = Language.EN
    link: GivenLink | None = None
    secret: GivenSecret | None = None
    headers: dict[str, str] = Field({}, description="At most 20 additional request headers.")


class CallbackTested(AttemptView):
    event_id: str
    secret: str | None = Field(description="Only if it was generated for this test.")


class CallbackTestViews:
    """deadline: the longest that one test may take. threads: request threads of this process."""

    def __init__(
        self,
        stores: Stores,
        config: LiveConfig,
        client: CallbackClient,
        *,
        deadline: timedelta,
        threads: int,
    ) -> None:
        self._stores = stores
        self._config = config
        self._client = client
        self._deadline = deadline
        # Subscribers may be slow: half of the threads stay available for other calls.
        self._slots = BoundedSemaphore(max(1, threads // 2))

    def routes(self) -> Routes:
        routes = Routes("callbacks")
        routes.post("/callbacks/test", responses={200: CallbackTested})(self.test_callback)
        return routes

    def test_callback(self, header: IdempotencyHeader, body: CallbackTestRequest) -> Response:
        """Sends one `callback.test` now, in the way deliveries are sent, and returns the attempt."""
        return json_answer(idempotent(self._stores.claims, header, lambda: self._tested(body)))

    def _tested(self, body: CallbackTestRequest) -> str:
        options = callback_options.resolve(
            self._config,
            tenant(),
            url=body.callback_url,
            format_name=body.format,
            secret=body.secret,
            headers=body.headers,
        )
        subscriber = self._client.subscriber(
            tenant(),
            options.format,
            url=options.url,
            secrets=[options.secret],
            headers=body.headers,
            hidden=(options.secret.removeprefix(PREFIX),),
            language=body.language,
            link=body.link,
        )
        with self._slot():
            tested = self._send(subscriber)
        if tested.verdict is Verdict.DELIVERED:
            self._stores.scripts.run_replicated(self._stores.gone_urls.remove(tenant(), body.callback_url))
        generated = None if body.secret else options.secret or None
        return tested.model_copy(update={"secret": generated}).model_dump_json()

    def _send(self, subscriber: Subscriber) -> CallbackTested:
        now = self._stores.clock()
        event = Event(
            id=new_id("evt", to_ms(now), secrets.randbits(RANDOM_BITS)),
            registration_id=None,
            project=None,
            about=None,
            observed_at=now,
            metadata={},
        )
        attempt = self._client.send(
            subscriber, [event], number=FIRST_ATTEMPT, now=now, deadline=self._deadline, stopwatch=Stopwatch()
        )
        return CallbackTested.of(
            callback.log_line(attempt, FIRST_ATTEMPT, now) | {"event_id": event.id, "secret": None}
        )

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise TooManyRequests(
                "too many callback tests are running", retry_after=int(self._deadline.total_seconds())
            )
        try:
            yield
        finally:
            self._slots.release()
