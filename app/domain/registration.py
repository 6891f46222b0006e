"""A registration: "tell this URL when these jobs end"."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self

from app.domain.callback_url import CallbackUrl, path_and_query
from app.domain.errors import InvalidField
from app.domain.event import EventType
from app.domain.job import Job, JobState
from app.domain.signature import PREFIX
from app.domain.verdict import Verdict


class Notify(StrEnum):
    """One event for each job, one for all of them together, or both."""

    EACH = "each"
    ALL = "all"
    BOTH = "both"


class RegistrationState(StrEnum):
    WATCHING = "watching"
    FINISHED = "finished"
    CANCELLED = "cancelled"


OPERATION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MOST_SECRETS = 5  # that sign at once: each is 48 bytes more in every callback
SAYS = {False: (Notify.EACH, Notify.BOTH), True: (Notify.ALL, Notify.BOTH)}


@dataclass(frozen=True, slots=True)
class EarlierSecret:
    """Signs beside the newer ones until its time has come."""

    secret: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True)
class Registration:
    """What a caller asked for; nothing of it changes but the secret, and the URL where a chat service says so.
    Never log what a repr of it leaves out.

    request_id: CPH's request that the jobs belong to, if the caller named one; without any jobs beside it: all of them.
    ended: jobs whose end the caller has brought along. verify: the callback is tried at once.
    callback_url, destination, secret: '' if nobody is called: its events are for the feed alone.
    secret: of chat formats the bot's own, '' if it has none. format, language, link: how people are told; see formats/.
    """

    id: str
    tenant: str
    project: str
    job_ids: tuple[str, ...]
    callback_url: str = field(repr=False)
    destination: str  # what shares a lane (domain/destination.py)
    secret: str = field(repr=False)
    events: tuple[EventType, ...]
    metadata: Mapping[str, Any]
    created_at: datetime
    deadline_at: datetime
    traceparent: str | None = None
    notify: Notify = Notify.EACH
    request_id: str | None = None
    ended: tuple[Job, ...] = ()
    verify: bool = False
    format: str = "standard"
    language: str = "en"
    link: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    earlier_secrets: tuple[EarlierSecret, ...] = ()  # newest first

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """Those that sign then, newest first. Not for chat formats, whose secret signs nothing beside the message."""
        return (self.secret, *(earlier.secret for earlier in self.earlier_secrets if now < earlier.until))

    def rotated(self, secret: str, now: datetime, overlap: timedelta) -> Self:
        """With this secret, and those that sign now for as long as the overlap, none for longer than it was told."""
        if not self.destination:
            raise InvalidField("/secret", "nothing is signed for a registration without callback_url")
        if secret in self.secrets_at(now):
            raise InvalidField("/secret", "signs already")
        until = now + overlap
        told = ((self.secret, until), *((each.secret, min(each.until, until)) for each in self.earlier_secrets))
        kept = tuple(EarlierSecret(earlier, ends) for earlier, ends in told if now < ends)
        if len(kept) >= MOST_SECRETS:
            hint = "0 ends all earlier ones at once"
            raise InvalidField("/overlap_s", f"{MOST_SECRETS} secrets sign already, and no more may", hint)
        return replace(self, secret=secret, earlier_secrets=kept)

    @property
    def digest_key(self) -> tuple[object, ...]:
        """Those alike in this can be told of together, in one message."""
        headers = tuple(sorted(self.headers.items()))
        return self.callback_url, self.secret, headers, self.format, self.language, self.link

    @property
    def credentials(self) -> tuple[str, ...]:
        """What nobody may be shown, not even where a receiver has repeated it."""
        secrets = (self.secret, *(each.secret for each in self.earlier_secrets))
        tail = path_and_query(self.callback_url)
        return (*(secret.removeprefix(PREFIX) for secret in secrets), *self.headers.values(), tail)

    @property
    def trace_id(self) -> str | None:
        return common_trace_id([self.traceparent] if self.traceparent else [])

    @property
    def operation(self) -> str | None:
        """What the jobs do, if the caller says so in `metadata`: such jobs take about as long as each other."""
        named = self.metadata.get("operation")
        return named if isinstance(named, str) and OPERATION.fullmatch(named) else None

    @property
    def subscribed_events(self) -> tuple[EventType, ...]:
        """The events that follow from `events` and `notify` together."""
        return tuple(event for event in self.events if self.notify in SAYS[event is EventType.GROUP_FINISHED])


def common_trace_id(traceparents: Iterable[str]) -> str | None:
    """Of W3C's trace context, if all that are given are of one trace: it ties our logs to the caller's."""
    ids = {traceparent.split("-")[1] for traceparent in traceparents}
    return ids.pop() if len(ids) == 1 else None


OPERATOR = ":operator"  # no tenant can be named so


def for_operator(url: CallbackUrl, secret: str) -> Registration:
    """What operator's events are sent by: the same whichever process makes it. It names no job and never ends."""
    beginning = datetime.fromtimestamp(0, UTC)
    return Registration(
        id=f"reg_{0:010d}{sha256(url.raw.encode()).hexdigest()[:16]}",
        tenant=OPERATOR,
        project="",
        job_ids=(),
        callback_url=url.raw,
        destination=url.origin,
        secret=secret,
        events=tuple(EventType),
        metadata={},
        created_at=beginning,
        deadline_at=beginning,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a registration has come. jobs: by id. unseen: the end of a request of which CPH has shown no job.

    tested: the last verdict of the test of its callback. gone: its URL has answered 410 since.
    opened: what is secret of it could be read; else its URL, headers and secrets are not known.
    """

    state: RegistrationState
    jobs: Mapping[str, JobState]
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    unseen: JobState | None = None
    tested: Verdict | None = None
    gone: bool = False
    opened: bool = True
