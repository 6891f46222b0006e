"""Sends callbacks, for deliver workers and for the API's test."""

from collections.abc import Mapping, Sequence
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
    """handshake: None if receivers of CloudEvents are not asked first.

    own_signers: sign with the bridge's own keys, beside the subscriber's secret.
    link: of the deployment, for registrations without one.
    """

    sender: Sender
    handshake: Handshake | None
    own_signers: Sequence[Signer] = field(repr=False)
    link: str | None = None

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
        """secrets: those that sign; for a bot, at most the one that its service checks."""
        by_secrets = map(signature.by_secret, secrets) if form.machine else ()
        secret = next(iter(secrets), None) or None
        return Subscriber(
            tenant=tenant,
            format=form,
            wishes=MessageOptions(url, None if form.machine else secret, language, link or self.link),
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
        watch: Stopwatch,
        lane: str | None = None,
    ) -> Attempt:
        """One message about all of the events; or what a receiver of CloudEvents refused before it.

        number: of the attempt, from 1. The deadline counts from the start of `watch`. lane: as for `Handshake.refusal`.
        """
        if self.handshake and subscriber.format is cloudevents.FORMAT:
            refused = self.handshake.refusal(subscriber, lane, deadline, watch)
            if refused:
                return refused
        return callback.send(self.sender, subscriber, events, number=number, now=now, deadline=deadline, watch=watch)
