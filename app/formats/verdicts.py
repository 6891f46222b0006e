"""Interprets answers, as far as services agree: first the status, then the code and message in the body."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict, by_status
from app.formats.format import AnswerVerdict, ServiceAnswer
from app.formats.sanitize import plain

MAX_TEXT = 200  # UTF-16 units of a service's message
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")
SUCCESS = (0, 200)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TOO_LARGE = 413
# Statuses for a message that the service does not take in this form.
MALFORMED = frozenset((400, TOO_LARGE, 422))
# A gateway has passed the message on and did not wait for the answer, or the server gave up while it read.
MAYBE_DELIVERED = frozenset((408, 499, 504, 520, 524, 598, 599))
# How servers that are compatible with a service say no in a 2xx: `{"success": false}`, `{"result": "error"}`.
FLAGS, RESULTS, STATUSES = ("ok", "success"), ("result", "status"), ("status", "statusCode", "status_code", "code")
FALSE, FAILED = frozenset(("false", "no", "0")), frozenset(("error", "fail", "failed", "failure"))
REASONS = ("error", "message", "msg", "errmsg", "description", "detail")


@dataclass(frozen=True, slots=True)
class Code:
    """The meaning of one of a service's own codes. advice: what a person can do.

    wait, overloaded, malformed: see AnswerVerdict.
    """

    verdict: Verdict
    advice: str | None = None
    wait: timedelta | None = None
    overloaded: bool = False
    malformed: bool = False


# For codes that no table lists: a person must act, unless the message in its simplest form is accepted.
UNKNOWN = Code(Verdict.REFUSED, malformed=True)
OVERLOADED = Code(Verdict.RETRY, "rate limit exceeded", overloaded=True)


def rejected(service: str) -> Code:
    """Returns the meaning of codes for a message that the service does not take in this form."""
    return Code(Verdict.REFUSED, f"{service} rejected the message", malformed=True)


def by_status_alone(answer: ServiceAnswer) -> AnswerVerdict:
    return AnswerVerdict(
        by_status(answer.status), overloaded=answer.status == 429, malformed=answer.status == TOO_LARGE
    )


def succeeded(answer: ServiceAnswer) -> bool:
    return by_status(answer.status) is Verdict.DELIVERED


def is_html(answer: ServiceAnswer) -> bool:
    """Returns whether the body is HTML, such as a proxy's login page, whatever the status.

    The type alone says little: Slack sends its `ok` as text/html, as PHP does by default.
    """
    types = (value for name, value in answer.headers.items() if name.lower() == "content-type")
    body = answer.body.removeprefix(BYTE_ORDER_MARK).lstrip()
    return ("html" in next(types, "").lower() and body.startswith(b"<")) or body[:16].lower().startswith(HTML)


def nested_object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the object of that name; empty if there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def seconds(value: object) -> timedelta | None:
    """Returns None if the value is not a non-negative number."""
    try:
        wait = timedelta(seconds=float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return wait if wait >= timedelta() else None


def describe(service: str, message: object, code: object = None, advice: str | None = None) -> str:
    """Returns `DingTalk: sign not match (310000): the secret is wrong`; `DingTalk: answered 310000` without message."""
    text = plain(message, MAX_TEXT) if isinstance(message, str) else ""
    number = "" if code is None else plain(str(code), 40)
    if text and number:
        text = f"{text} ({number})"
    text = text or (f"answered {number}" if number else "no reason given")
    return f"{service}: {text}" + (f": {advice}" if advice else "")


def by_code(service: str, code: Code, message: object, number: object = None) -> AnswerVerdict:
    text = describe(service, message, number, code.advice)
    return AnswerVerdict(code.verdict, text, code.wait, code.overloaded, malformed=code.malformed)


def by_number(service: str, answer: ServiceAnswer, number: int | None, message: object, code: Code) -> AnswerVerdict:
    """For services whose success is a 2xx with number 0, or 200 of some relays. code: meaning of any other number."""
    if succeeded(answer) and number in SUCCESS:
        return AnswerVerdict(Verdict.DELIVERED)
    if number and by_status(answer.status) in {Verdict.DELIVERED, Verdict.REFUSED}:
        return by_code(service, code, message, number)
    return other_2xx(service, answer) if succeeded(answer) else not_2xx(service, answer, message)


def other_2xx(service: str, answer: ServiceAnswer) -> AnswerVerdict:
    """For a 2xx that is neither the service's own yes nor one of its noes.

    It counts as delivered, because people cannot drop repeated messages, unless it is a refusal in other words. An HTML
    page usually comes from a proxy that has not passed the message on.
    """
    if is_html(answer):
        page = f"{service}: {answer.status} with an HTML page, probably from a proxy"
        return AnswerVerdict(Verdict.RETRY, page, maybe_delivered=True)
    body = read_object(answer.body)
    if not _refuses(body):
        return AnswerVerdict(
            Verdict.DELIVERED, f"{service}: taken as delivered; {answer.status}, but not with its usual answer"
        )
    number = _status_of(body)
    verdict = Verdict.RETRY if number and by_status(number) is Verdict.RETRY else Verdict.REFUSED
    text = describe(service, next((body[name] for name in REASONS if isinstance(body.get(name), str)), None), number)
    return AnswerVerdict(verdict, text, overloaded=number == 429, malformed=verdict is Verdict.REFUSED)


def is_false(value: object) -> bool:
    """Returns whether the value is `false`, also as a text or a number."""
    return value is False or str(value).strip().lower() in FALSE


def _refuses(body: Mapping[str, Any]) -> bool:
    return (
        any(is_false(body.get(name)) for name in FLAGS)
        or any(str(body.get(name)).strip().lower() in FAILED for name in RESULTS)
        or integer(body.get("errcode")) not in (None, 0)
        or _status_of(body) is not None
        or bool(body.get("error") or body.get("errors"))
    )


def _status_of(body: Mapping[str, Any]) -> int | None:
    """Returns an HTTP status of 4xx or 5xx in the body."""
    numbers = (integer(body.get(name)) for name in STATUSES)
    return next((number for number in numbers if number is not None and 400 <= number < 600), None)


def not_2xx(service: str, answer: ServiceAnswer, message: object = None, advice: str | None = None) -> AnswerVerdict:
    """Judges by the status. message: the service's; if it is not text, the body's beginning is shown instead.

    advice: of a known error, which is not about the message's form.
    """
    if not isinstance(message, str):
        message = "an HTML page" if is_html(answer) else answer.body[:MAX_TEXT].decode("utf-8", "replace")
    overloaded = answer.status == 429
    text = describe(service, message, answer.status, advice or (OVERLOADED.advice if overloaded else None))
    return AnswerVerdict(
        by_status(answer.status),
        text,
        overloaded=overloaded,
        maybe_delivered=answer.status in MAYBE_DELIVERED,
        malformed=answer.status in MALFORMED and advice is None,
    )
