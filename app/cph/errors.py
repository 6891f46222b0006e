"""Error responses of CPH, its gateway and IAM: their kind, and how long to pause after them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from app.cph.parsing import read_object
from app.domain.foreign_json import text
from app.domain.project_health import CHECK_CREDENTIALS
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


# What may be shown of a code as it is: a foreign text of another shape may contain anything.
CODE = re.compile(r"[A-Z][A-Z0-9]{1,15}(?:\.[A-Z0-9]{1,12}){0,3}", re.IGNORECASE)
# How `str()` of a refusal begins, after the issuer's name.
IN_REASON = re.compile(rf"(?:\w+: )?(HTTP \d{{3}})(?: ({CODE.pattern}))?:", re.IGNORECASE)


class RefusalKind(Enum):
    NO_SUCH_JOB = auto()
    NO_SUCH_REQUEST = auto()  # at least one of the request ids of the call
    NO_SUCH_API = auto()
    UNAUTHENTICATED = auto()
    FORBIDDEN = auto()  # this call
    PROJECT_REFUSED = auto()  # every call
    THROTTLED = auto()
    BUSY = auto()
    OTHER = auto()  # may concern only this call


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """remedy: what an operator should do; None for nothing."""

    kind: RefusalKind
    meaning: str
    remedy: str | None = None


GRANT_RIGHTS = "grant the user cph:jobs:get and cph:jobs:list in this project"
CHECK_HOST = (
    "the credentials were not refused: check the project's id and the endpoint, as CPH's API is not at this host or in"
    " this region"
)
CHECK_REGION = "check the region of the endpoint, and that the user and the project belong to it"
CHECK_PROJECT = "check the project's id, and that the account is neither suspended nor in arrears"
ALLOW_ADDRESS = "allow the bridge's outgoing IP address where the account restricts access by address"
CHECK_ON_THE_WAY = (
    "no call gets an answer of CPH's API: check the endpoint, the project's id, the user's rights, and any proxy, login"
    " page or firewall on the way"
)

_PROJECT_REFUSED, _UNAUTHENTICATED, _FORBIDDEN = (
    RefusalKind.PROJECT_REFUSED,
    RefusalKind.UNAUTHENTICATED,
    RefusalKind.FORBIDDEN,
)
_NO_SUCH_API = RefusalKind.NO_SUCH_API

# docs/operations.md has this table. What is not in it is judged by its status. The gateway writes APIG. or APIGW.
ERROR_CODES: Mapping[str, ErrorCode] = {
    "CPS.0001": ErrorCode(_FORBIDDEN, "the user may not make this call", GRANT_RIGHTS),
    "CPS.0006": ErrorCode(_FORBIDDEN, "the user may not make this call", GRANT_RIGHTS),
    "CPS.0007": ErrorCode(_FORBIDDEN, "the user may not make this call", GRANT_RIGHTS),
    "CPS.0008": ErrorCode(_FORBIDDEN, "the user may not make this call", GRANT_RIGHTS),
    "CPS.0011": ErrorCode(RefusalKind.NO_SUCH_JOB, "CPH does not know the job"),
    "CPS.0042": ErrorCode(RefusalKind.BUSY, "CPH is busy"),
    "CPS.0050": ErrorCode(RefusalKind.NO_SUCH_REQUEST, "CPH has no jobs for the request"),
    "APIGW.0101": ErrorCode(_NO_SUCH_API, "there is no such API at this address", CHECK_HOST),
    "APIGW.0103": ErrorCode(_NO_SUCH_API, "there is no such API at this address", CHECK_HOST),
    "APIGW.0301": ErrorCode(_UNAUTHENTICATED, "wrong token or signature", CHECK_CREDENTIALS),
    "APIGW.0302": ErrorCode(_FORBIDDEN, "the user may not call this API", GRANT_RIGHTS),
    "APIGW.0303": ErrorCode(_UNAUTHENTICATED, "wrong signature", CHECK_CREDENTIALS),
    "APIGW.0304": ErrorCode(_FORBIDDEN, "the caller may not call this API", GRANT_RIGHTS),
    "APIGW.0305": ErrorCode(_UNAUTHENTICATED, "wrong credentials", CHECK_CREDENTIALS),
    "APIGW.0306": ErrorCode(_FORBIDDEN, "access to this API is denied", GRANT_RIGHTS),
    "APIGW.0307": ErrorCode(_UNAUTHENTICATED, "the token must be renewed, or is of another region", CHECK_CREDENTIALS),
    "APIGW.0308": ErrorCode(RefusalKind.THROTTLED, "the rate limit of the gateway is exceeded"),
    "APIGW.0309": ErrorCode(_PROJECT_REFUSED, "the project is unavailable", CHECK_PROJECT),
    "APIGW.0310": ErrorCode(_PROJECT_REFUSED, "the project is unavailable", CHECK_PROJECT),
    "APIGW.0311": ErrorCode(_UNAUTHENTICATED, "wrong credentials", CHECK_CREDENTIALS),
    "APIGW.0401": ErrorCode(_PROJECT_REFUSED, "the bridge's address is not known", ALLOW_ADDRESS),
    "APIGW.0402": ErrorCode(_PROJECT_REFUSED, "the bridge's address is not allowed", ALLOW_ADDRESS),
    "APIGW.0405": ErrorCode(_PROJECT_REFUSED, "the bridge's address is not trusted", ALLOW_ADDRESS),
    "APIGW.0613": ErrorCode(RefusalKind.BUSY, "the gateway cannot reach IAM"),
    "APIGW.0801": ErrorCode(_PROJECT_REFUSED, "CPH cannot be called in this region", CHECK_REGION),
    "APIGW.0802": ErrorCode(_PROJECT_REFUSED, "the user is forbidden in this region", CHECK_REGION),
}
# No 403: a firewall may reject one odd job id, which must not pause the project. No 404: it may be a wrong endpoint.
# What becomes of such answers to all calls: workers/polling/backoff.py.
BY_STATUS: Mapping[int, ErrorCode] = {
    401: ErrorCode(RefusalKind.UNAUTHENTICATED, "wrong credentials", CHECK_CREDENTIALS),
    429: ErrorCode(RefusalKind.THROTTLED, "too many calls"),
}
MAY_PASS = frozenset({408, 425})  # the only ones below 500 that do not depend on what was asked
OPERATOR_MUST_ACT = (_UNAUTHENTICATED, _FORBIDDEN, _PROJECT_REFUSED, _NO_SUCH_API)
UNLISTED = ErrorCode(RefusalKind.OTHER, "not known to the bridge")


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
    def listed(self) -> ErrorCode:
        """The code takes precedence over the status: CPH has sent one code with several statuses."""
        by_status = BY_STATUS.get(self.status, UNLISTED)
        return _COMPARABLE.get(_comparable(self.code or ""), by_status)

    @property
    def kind(self) -> RefusalKind:
        return self.listed.kind

    @property
    def short(self) -> str:
        """The code alone, for events; the status if there is none."""
        return self.code.strip() if self.code and CODE.fullmatch(self.code.strip()) else f"HTTP {self.status}"

    @property
    def permanent(self) -> bool:
        """True if repeating the call will not help, but it may concern only this call: see `OTHER`."""
        return self.kind is RefusalKind.OTHER and self.status < 500 and self.status not in MAY_PASS

    @property
    def pause(self) -> timedelta | None:
        """How long to pause the whole project; None if only this call failed."""
        match self.kind:
            case RefusalKind.THROTTLED | RefusalKind.BUSY:
                return min(self.retry_after or _window(self.message) or OVERLOADED_PAUSE, LONGEST_PAUSE)
            case _ if self.unauthenticated:
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
        """CPH or its gateway rejects all our calls: an operator must act."""
        return self.kind in OPERATOR_MUST_ACT

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
        code=_redact(_code(body), secrets),
        message=_redact(message, secrets) or no_message,
        request_id=_redact(text(payload.get("request_id")), secrets),
        retry_after=retry_after(reply.headers.get("retry-after")),
    )


def code_in(reason: str) -> str | None:
    """Returns the code in the text of a refusal, as `short` does; None if it is no refusal."""
    found = IN_REASON.match(reason)
    return found and (found[2] or found[1])


def _code(body: Mapping[str, Any]) -> str | None:
    """IAM's `code` repeats the HTTP status as a number; other services name their codes so."""
    for value in (body.get("error_code"), body.get("errorCode"), body.get("code")):
        if code := text(value):
            return code
    number = body.get("error_code")
    return str(number) if type(number) is int else None


def _comparable(code: str) -> str:
    """Normalises a code: CPH writes both CPS.0011 and CPS0011, the gateway both APIG and APIGW."""
    return code.strip().replace(".", "").upper().replace("APIGW", "APIG")


_COMPARABLE = {_comparable(code): listed for code, listed in ERROR_CODES.items()}


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
