"""What CPH, its gateway and IAM say when they do not answer, and how long to leave them alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from app.cph.parsing import read_object, text
from app.domain.retry_after import retry_after
from app.transport.client import Reply

REFUSED_PAUSE = timedelta(minutes=1)  # an operator must act: asking sooner only fills logs
CROWDED_PAUSE = timedelta(seconds=10)  # if the answer does not say for how long
LONGEST_PAUSE = timedelta(hours=1)  # whatever a server says, jobs are not left unwatched for longer

LIMIT = re.compile(r"limit:\s*([1-9][0-9]{0,8})\b", re.IGNORECASE)
WINDOW = re.compile(r"time:\s*([1-9][0-9]{0,3})\s*(second|minute|hour|day)", re.IGNORECASE)
WORDS_LENGTH = 200
# Nobody reads such words, and gateways do quote pieces of a token.
LONG_RUN = re.compile(r"[^\s,;:'\"]{41,}")


class RefusalKind(Enum):
    NO_SUCH_JOB = auto()
    NO_SUCH_REQUEST = auto()  # of one of those that were named
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    THROTTLED = auto()
    BUSY = auto()
    OTHER = auto()  # may be the trouble of this one call


BY_CODE: Mapping[str, RefusalKind] = {
    "CPS0011": RefusalKind.NO_SUCH_JOB,
    "CPS0050": RefusalKind.NO_SUCH_REQUEST,
    "APIGW0301": RefusalKind.UNAUTHENTICATED,
    "APIGW0303": RefusalKind.UNAUTHENTICATED,
    "APIGW0307": RefusalKind.UNAUTHENTICATED,
    "CPS0001": RefusalKind.FORBIDDEN,
    "CPS0006": RefusalKind.FORBIDDEN,
    "CPS0007": RefusalKind.FORBIDDEN,
    "CPS0008": RefusalKind.FORBIDDEN,
    "APIGW0308": RefusalKind.THROTTLED,
    "CPS0042": RefusalKind.BUSY,
}
# No 403: a firewall's, for one odd job id, must not stop a project. No 404: a wrong endpoint is not a missing job.
BY_STATUS: Mapping[int, RefusalKind] = {401: RefusalKind.UNAUTHENTICATED, 429: RefusalKind.THROTTLED}


@dataclass(frozen=True, slots=True)
class Throttle:
    """`limit` calls are allowed in each `window`, and none before `retry_after`: as far as the answer says."""

    limit: int | None
    window: timedelta | None
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class CphRefusal:
    """`code` as it came; `retry_after` as the header says, or None. `str` gives words for a log."""

    status: int
    code: str | None
    message: str
    request_id: str | None
    retry_after: timedelta | None

    @property
    def kind(self) -> RefusalKind:
        """By code before status: CPH has answered one code with several statuses."""
        by_status = BY_STATUS.get(self.status, RefusalKind.OTHER)
        return BY_CODE.get(_comparable(self.code or ""), by_status)

    @property
    def pause(self) -> timedelta | None:
        """How long not to ask for anything; None when only this call is concerned."""
        match self.kind:
            case RefusalKind.THROTTLED | RefusalKind.BUSY:
                return min(self.retry_after or _window(self.message) or CROWDED_PAUSE, LONGEST_PAUSE)
            case RefusalKind.UNAUTHENTICATED | RefusalKind.FORBIDDEN:
                return REFUSED_PAUSE
            case _:
                return None

    @property
    def throttle(self) -> Throttle | None:
        if self.kind is not RefusalKind.THROTTLED:
            return None
        limit = LIMIT.search(self.message)
        return Throttle(int(limit[1]) if limit else None, _window(self.message), self.retry_after)

    @property
    def unauthenticated(self) -> bool:
        """Who we are does not suffice: an operator must act."""
        return self.kind in (RefusalKind.UNAUTHENTICATED, RefusalKind.FORBIDDEN)

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"HTTP {self.status}{code}: {self.message}{request}"


def read_refusal(reply: Reply, *, secrets: Iterable[str]) -> CphRefusal:
    """secrets: what was sent and must not come back in words, should the server quote it."""
    payload = read_object(reply)
    body = payload
    if isinstance(payload.get("error"), dict):
        body = payload["error"]  # IAM's shape; its `code` is the HTTP status once more
    message = text(body.get("error_msg")) or text(body.get("message")) or text(body.get("title"))
    silent = "the answer is cut short" if reply.truncated else "no reason given"
    return CphRefusal(
        status=reply.status,
        code=_blot(text(body.get("error_code")), secrets),
        message=_blot(message, secrets) or silent,
        request_id=_blot(text(payload.get("request_id")), secrets),
        retry_after=retry_after(reply.headers.get("retry-after")),
    )


def _comparable(code: str) -> str:
    """CPH writes CPS.0011 here and CPS0011 there."""
    return code.replace(".", "").upper()


def _blot(words: str | None, secrets: Iterable[str]) -> str | None:
    if words is None:
        return None
    for secret in secrets:
        words = words.replace(secret, "…")
    return LONG_RUN.sub("…", words)[:WORDS_LENGTH]


def _window(message: str) -> timedelta | None:
    """Of `limit:10,time:1 minute`: the time after which the budget is whole again."""
    found = WINDOW.search(message)
    return timedelta(**{f"{found[2].lower()}s": int(found[1])}) if found else None
