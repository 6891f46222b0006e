"""The interface of a format: it renders events for one kind of receiver and interprets the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict


class Language(StrEnum):
    """BCP 47 tags."""

    EN = "en"
    ZH_CN = "zh-CN"


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """A registration's options for its messages.

    secret: the bot's own, for services that require a signature inside the message.
    link: URL template of a page about the event's subject, with placeholders such as `{job_id}` (see links.py).
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    language: Language = Language.EN
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A POST. headers: those of the format; the transport, the caller's options and the signature add theirs."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """headers: names in any case. body: at most the first 64 KiB. url: the request's URL."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AnswerVerdict:
    """The interpretation of an answer.

    service_message: the service's message, for people: `DingTalk: sign not match (310000): the secret is wrong`.
    retry_after: wait requested by the service, if stated elsewhere than in the Retry-After header.
    overloaded: the service is overloaded or its rate limit was exceeded; the lane slows down.
    maybe_delivered: the message may have arrived although the answer does not confirm it.
    malformed: the message was refused for its content or size; the format's fallback may be accepted.
    url: the destination's new URL; the attempt does not count.
    """

    verdict: Verdict
    service_message: str | None = None
    retry_after: timedelta | None = None
    overloaded: bool = False
    maybe_delivered: bool = False
    malformed: bool = False
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`messages` per `window`, to one bot."""

    messages: int
    window: timedelta


Render = Callable[[Sequence[Event], MessageOptions, datetime], Outgoing]
RenderFallback = Callable[[Sequence[Event], MessageOptions, datetime], Outgoing | None]


@dataclass(frozen=True, slots=True)
class Format:
    """render: renders one message about one to `digest` events; the time is used only for signatures.
    fallback: renders it in its simplest form, which is sent once after a refusal of the full one; it may return None.

    machine: receivers deduplicate by `webhook-id` and verify `webhook-signature`, so callbacks are signed according to
    Standard Webhooks and retried for days. Otherwise people read the messages, and late or repeated ones are noise.
    signs: messages to people can be signed with the bot's own secret.
    limit: maximum size of a message, as text; None if there is none.
    bot: distinguishes destinations with the same scheme, host and port. It is a credential, so store only its digest.
    check: raises InvalidField, with a hint, for a URL or secret that cannot work.
    recognises: returns whether only this service uses such URLs; selects the format for `auto`.
    """

    name: str
    render: Render
    judge: Callable[[ServiceAnswer], AnswerVerdict]
    fallback: RenderFallback = lambda *_: None
    machine: bool = False
    signs: bool = False
    limit: str | None = None
    digest: int = 1
    rate_limit: RateLimit | None = None
    bot: Callable[[CallbackUrl], str] = lambda _: ""
    check: Callable[[CallbackUrl, str | None], None] = lambda *_: None
    recognises: Callable[[CallbackUrl], bool] = lambda _: False
