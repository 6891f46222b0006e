"""Error responses of CPH, its gateway and IAM: their kind, and how long to pause after them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from app.cph.parsing import read_object
from app.domain.foreign_json import text
from app.domain.retry_after import retry_after
from app.transport.client import Reply

REFUSED_PAUSE = timedelta(minutes=1)  # an operator must act: retrying sooner only fills logs
OVERLOADED_PAUSE = timedelta(seconds=10)  # if the response gives no duration
LONGEST_PAUSE = timedelta(hours=1)  # caps what a server asks for: jobs must not go unpolled for longer

LIMIT = re.compile(r"limit:\s*([1-9][0-9]{0,8})\b", re.IGNORECASE)
WINDOW = re.compile(r"time:\s*([1-9][0-9]{0,3})\s*(second|minute|hour|day)", re.IGNORECASE)
MESSAGE_LENGTH = 200
# No readable word is this long, and gateways quote pieces of a token.
LONG_RUN = re.compile(r"[^\s,;:'\"]{41,}")


class RefusalKind(Enum):
    NO_SUCH_JOB = auto()
    NO_SUCH_REQUEST = auto()  # at least one of the request ids of the call
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()
    THROTTLED = auto()
    BUSY = auto()
    OTHER = auto()  # may concern only this call


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
# No 403: a firewall may reject one odd job id, which must not pause the project. No 404: it may be a wrong endpoint.
BY_STATUS: Mapping[int, RefusalKind] = {401: RefusalKind.UNAUTHENTICATED, 429: RefusalKind.THROTTLED}


@dataclass(frozen=True, slots=True)
class Throttle:
    """The rate limit that CPH reports: `limit` calls per `window`, none before `retry_after`. None: not reported."""

    limit: int | None
    window: timedelta | None
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class CphRefusal:
    """An error response. `code`: unchanged. `retry_after`: from the header. `str()` returns a text for logs."""

    status: int
    code: str | None
    message: str
    request_id: str | None
    retry_after: timedelta | None

    @property
    def kind(self) -> RefusalKind:
        """The code takes precedence over the status: CPH has sent one code with several statuses."""
        by_status = BY_STATUS.get(self.status, RefusalKind.OTHER)
        return BY_CODE.get(_comparable(self.code or ""), by_status)

    @property
    def pause(self) -> timedelta | None:
        """How long to pause the whole project; None if only this call failed."""
        match self.kind:
            case RefusalKind.THROTTLED | RefusalKind.BUSY:
                return min(self.retry_after or _window(self.message) or OVERLOADED_PAUSE, LONGEST_PAUSE)
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
        """CPH rejects our credentials or permissions: an operator must act."""
        return self.kind in (RefusalKind.UNAUTHENTICATED, RefusalKind.FORBIDDEN)

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"HTTP {self.status}{code}: {self.message}{request}"


def read_refusal(reply: Reply, *, secrets: Iterable[str]) -> CphRefusal:
    """secrets: values sent with the request; they are redacted if the server quotes them."""
    payload = read_object(reply)
    body = payload
    if isinstance(payload.get("error"), dict):
        body = payload["error"]  # IAM's shape; its `code` repeats the HTTP status
    message = text(body.get("error_msg")) or text(body.get("message")) or text(body.get("title"))
    no_message = "the answer is cut short" if reply.truncated else "no reason given"
    return CphRefusal(
        status=reply.status,
        code=_redact(text(body.get("error_code")), secrets),
        message=_redact(message, secrets) or no_message,
        request_id=_redact(text(payload.get("request_id")), secrets),
        retry_after=retry_after(reply.headers.get("retry-after")),
    )


def _comparable(code: str) -> str:
    """Normalises a code: CPH writes both CPS.0011 and CPS0011."""
    return code.replace(".", "").upper()


def _redact(message: str | None, secrets: Iterable[str]) -> str | None:
    if message is None:
        return None
    for secret in secrets:
        message = message.replace(secret, "…")
    return LONG_RUN.sub("…", message)[:MESSAGE_LENGTH]


def _window(message: str) -> timedelta | None:
    """Returns the window of a rate limit in a text such as `limit:10,time:1 minute`."""
    found = WINDOW.search(message)
    return timedelta(**{f"{found[2].lower()}s": int(found[1])}) if found else None
