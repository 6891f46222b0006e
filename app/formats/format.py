"""What every format is made of: events go out as one kind of receiver reads them, and its answer is understood."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict


class Language(StrEnum):
    """As BCP 47 names them."""

    EN = "en"
    ZH_CN = "zh-CN"


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What a registration says about its messages.

    secret: the bot's own, for services that have the sender prove itself inside the message.
    link: of a page about what the event tells, with `{job_id}` and the like in it (see words.py).
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    language: Language = Language.EN
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A POST. headers: those that the format needs; the transport's, the caller's and the signature's come on top."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """headers: by any spelling. body: at most the first 64 KiB. url: where it came from, as it was sent to."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AnswerVerdict:
    """What an answer means.

    words: what the service said, for people: `DingTalk: sign not match (310000): the secret is wrong`.
    retry_after: how long it wants to be left alone, where it says so elsewhere than in the header Retry-After.
    crowded: it had too much to do, or was asked too often: its lane slows down.
    url: where it is to be sent from now on; the attempt does not count.
    """

    verdict: Verdict
    service_message: str | None = None
    retry_after: timedelta | None = None
    overloaded: bool = False
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many messages in so long, to one bot."""

    messages: int
    window: timedelta


Render = Callable[[Sequence[Event], MessageOptions, datetime], Outgoing]


@dataclass(frozen=True, slots=True)
class Format:
    """render: one message about one event, or about up to `digest` of them; the moment is for signatures alone.

    machine: its receivers drop repeats by `webhook-id` and verify `webhook-signature`, so it is signed by Standard
    Webhooks and tried for days; else people read it, and what comes late or twice is noise.
    signs: a message to people may prove who sends it, by the bot's own secret.
    limit: of a message, in words, if there is one.
    bot: what beside scheme, host and port tells one destination from another; it is a credential, so keep its digest.
    check: InvalidField for a URL or secret that cannot work, with the way out.
    known_by: whether the URL is one that only this service has; for `auto`.
    """

    name: str
    render: Render
    judge: Callable[[ServiceAnswer], AnswerVerdict]
    machine: bool = False
    signs: bool = False
    limit: str | None = None
    digest: int = 1
    pace: RateLimit | None = None
    bot: Callable[[CallbackUrl], str] = lambda _: ""
    check: Callable[[CallbackUrl, str | None], None] = lambda *_: None
    known_by: Callable[[CallbackUrl], bool] = lambda _: False
