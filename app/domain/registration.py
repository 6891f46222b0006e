"""A registration: "call this URL when these jobs end"."""

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
MAX_SECRETS = 5  # that sign at the same time: each adds 48 bytes to every callback
NOTIFY_MODES = {False: (Notify.EACH, Notify.BOTH), True: (Notify.ALL, Notify.BOTH)}


@dataclass(frozen=True, slots=True)
class EarlierSecret:
    """A replaced secret. It signs beside the newer ones until `until`."""

    secret: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True)
class Registration:
    """A caller's request. Only the secret changes, and the URL if a chat service moves the chat. Never log the fields
    that its repr omits.

    request_id: CPH's request of the jobs, if the caller named one. Without job_ids it stands for all of its jobs.
    ended: jobs whose end the caller sent along. verify: test the callback at once.
    callback_url, destination, secret: '' if there is no callback: its events go to the feed only.
    secret: for chat formats the bot's own, '' if it has none. format, language, link: of the messages; see formats/.
    """

    id: str
    tenant: str
    project: str
    job_ids: tuple[str, ...]
    callback_url: str = field(repr=False)
    destination: str  # determines the lane (domain/destination.py)
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
        """Returns the secrets that sign then, newest first. Of a chat format: the bot's one secret, '' for none."""
        return (self.secret, *(earlier.secret for earlier in self.earlier_secrets if now < earlier.until))

    def rotated(self, secret: str, now: datetime, overlap: timedelta) -> Self:
        """Returns a copy with a new secret. Current ones keep signing for `overlap`, but never past an earlier end.

        Raises InvalidField if there is no callback, the secret already signs, or too many secrets would.
        """
        if not self.destination:
            raise InvalidField("/secret", "a registration without callback_url has no secret")
        if secret in self.secrets_at(now):
            raise InvalidField("/secret", "is already in use")
        until = now + overlap
        ends = ((self.secret, until), *((each.secret, min(each.until, until)) for each in self.earlier_secrets))
        kept = tuple(EarlierSecret(earlier, end) for earlier, end in ends if now < end)
        if len(kept) >= MAX_SECRETS:
            hint = "0 retires all earlier secrets at once"
            raise InvalidField("/overlap_s", f"at most {MAX_SECRETS} secrets sign at the same time", hint)
        return replace(self, secret=secret, earlier_secrets=kept)

    @property
    def digest_key(self) -> tuple[object, ...]:
        """Registrations with equal keys can share one message."""
        headers = tuple(sorted(self.headers.items()))
        return self.callback_url, self.secret, headers, self.format, self.language, self.link

    @property
    def credentials(self) -> tuple[str, ...]:
        """Values that must never be shown, not even in a receiver's answer that repeats them."""
        secrets = (self.secret, *(each.secret for each in self.earlier_secrets))
        tail = path_and_query(self.callback_url)
        return (*(secret.removeprefix(PREFIX) for secret in secrets), *self.headers.values(), tail)

    @property
    def trace_id(self) -> str | None:
        return common_trace_id([self.traceparent] if self.traceparent else [])

    @property
    def operation(self) -> str | None:
        """The operation that `metadata` names, if any. Jobs of one operation have similar durations."""
        named = self.metadata.get("operation")
        return named if isinstance(named, str) and OPERATION.fullmatch(named) else None

    @property
    def subscribed_events(self) -> tuple[EventType, ...]:
        """The event types that both `events` and `notify` select."""
        return tuple(event for event in self.events if self.notify in NOTIFY_MODES[event is EventType.GROUP_FINISHED])


def common_trace_id(traceparents: Iterable[str]) -> str | None:
    """Returns the trace id (W3C Trace Context) if all belong to one trace. It links our logs to the caller's."""
    ids = {traceparent.split("-")[1] for traceparent in traceparents}
    return ids.pop() if len(ids) == 1 else None


OPERATOR = ":operator"  # not a valid tenant name


def operator_registration(url: CallbackUrl, secret: str) -> Registration:
    """Returns the registration of operator events, the same in every process. It has no jobs and never ends."""
    epoch = datetime.fromtimestamp(0, UTC)
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
        created_at=epoch,
        deadline_at=epoch,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a registration. jobs: by id. unseen: the final state of a request for which CPH listed no job.

    callback_verdict: the last verdict of the callback's test. callback_gone: the URL has since answered 410.
    decrypted: whether the record could be decrypted; otherwise URL, headers, secrets and metadata are unknown.
    """

    state: RegistrationState
    jobs: Mapping[str, JobState]
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    unseen: JobState | None = None
    callback_verdict: Verdict | None = None
    callback_gone: bool = False
    decrypted: bool = True
