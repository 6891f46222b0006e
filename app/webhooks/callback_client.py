"""Sends callbacks, for deliver workers and for the API's callback test."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.domain import signature
from app.domain.event import Event
from app.domain.signature import Signer
from app.formats import cloudevents
from app.formats.format import Format, Language, MessageOptions
from app.transport.stopwatch import Stopwatch
from app.webhooks import callback
from app.webhooks.callback import Subscriber
from app.webhooks.handshake import Handshake
from app.webhooks.sender import Attempt, Sender


@dataclass(frozen=True, slots=True)
class CallbackClient:
    """Sends callbacks. handshake: None if receivers of CloudEvents are not asked for permission first.

    own_signers: sign with the bridge's own keys, in addition to the subscriber's secret.
    link: the deployment's default, for registrations without a link.
    to_sign: returns the timestamp to sign at a time of the deployment.
    """

    sender: Sender
    handshake: Handshake | None
    own_signers: Sequence[Signer] = field(repr=False)
    link: str | None = None
    to_sign: Callable[[datetime], datetime] = lambda now: now

    def subscriber(
        self,
        tenant: str,
        form: Format,
        *,
        url: str,
        secrets: Sequence[str],
        headers: Mapping[str, str],
        hidden: tuple[str, ...],
        language: Language,
        link: str | None,
    ) -> Subscriber:
        """Returns the receiver. secrets: signing secrets; for a bot, at most the one that its service checks."""
        by_secrets = map(signature.by_secret, secrets) if form.machine else ()
        secret = next(iter(secrets), None) or None
        return Subscriber(
            tenant=tenant,
            format=form,
            options=MessageOptions(url, None if form.machine else secret, language, link or self.link),
            signers=(*by_secrets, *self.own_signers) if form.machine else (),
            headers=headers,
            hidden=hidden,
        )

    def send(
        self,
        subscriber: Subscriber,
        events: Sequence[Event],
        *,
        number: int,
        now: datetime,
        deadline: timedelta,
        stopwatch: Stopwatch,
        lane: str | None = None,
        may_fall_back: bool = True,
    ) -> Attempt:
        """Sends one message about all of the events, unless the CloudEvents handshake is refused or fails.

        number: attempt number, from 1. deadline: counts from the start of `stopwatch`. lane: see `Handshake.refusal`.
        may_fall_back: see `callback.send`.
        """
        if self.handshake and subscriber.format is cloudevents.FORMAT:
            refusal = self.handshake.refusal(subscriber, lane, deadline, stopwatch)
            if refusal:
                return refusal
        return callback.send(
            self.sender,
            subscriber,
            events,
            number=number,
            now=self.to_sign(now),
            deadline=deadline,
            stopwatch=stopwatch,
            may_fall_back=may_fall_back,
        )
