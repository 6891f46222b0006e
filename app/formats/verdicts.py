"""Interprets answers, as far as services agree: first the status, then the code and message in the body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.verdict import Verdict, by_status
from app.formats.format import AnswerVerdict, ServiceAnswer
from app.formats.sanitize import plain

MAX_TEXT = 200  # UTF-16 units of a service's message
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")


@dataclass(frozen=True, slots=True)
class Code:
    """The meaning of one of a service's own codes. advice: what a person can do.

    wait, overloaded: as `retry_after` and `overloaded` of AnswerVerdict.
    """

    verdict: Verdict
    advice: str | None = None
    wait: timedelta | None = None
    overloaded: bool = False


# For codes that no table lists: a person must act.
UNKNOWN = Code(Verdict.REFUSED)
OVERLOADED = Code(Verdict.RETRY, "rate limit exceeded", overloaded=True)


def by_status_alone(answer: ServiceAnswer) -> AnswerVerdict:
    return AnswerVerdict(by_status(answer.status), overloaded=answer.status == 429)


def succeeded(answer: ServiceAnswer) -> bool:
    return by_status(answer.status) is Verdict.DELIVERED


def is_html(answer: ServiceAnswer) -> bool:
    """Returns whether the body is HTML, such as a proxy's login page, whatever the status."""
    types = (value for name, value in answer.headers.items() if name.lower() == "content-type")
    body = answer.body.lstrip()
    return ("html" in next(types, "").lower() and bool(body)) or body[:16].lower().startswith(HTML)


def json_object(answer: ServiceAnswer) -> dict[str, Any]:
    """Returns the body as a JSON object; empty if it is not one."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def is_object(answer: ServiceAnswer) -> bool:
    """Returns whether the body is a JSON object, empty or not."""
    return bool(json_object(answer)) or answer.body.strip() == b"{}"


def nested_object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the object of that name; empty if there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def integer(value: object) -> int | None:
    """Returns None if the value is not an integer; `true` is not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


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
    return AnswerVerdict(code.verdict, describe(service, message, number, code.advice), code.wait, code.overloaded)


def by_number(service: str, answer: ServiceAnswer, number: int | None, message: object, code: Code) -> AnswerVerdict:
    """For services whose success is a 200 with number 0. code: meaning of any other number."""
    if answer.status == 200 and number == 0:
        return AnswerVerdict(Verdict.DELIVERED)
    if number and by_status(answer.status) in {Verdict.DELIVERED, Verdict.REFUSED}:
        return by_code(service, code, message, number)
    return unexpected_2xx(service, answer) if succeeded(answer) else not_2xx(service, answer, message)


def unexpected_2xx(service: str, answer: ServiceAnswer) -> AnswerVerdict:
    """For a 2xx unlike the service's own: it came from elsewhere, or the service has changed."""
    page = f"{answer.status} with an HTML page, probably from a proxy"
    text = page if is_html(answer) else f"unexpected answer ({answer.status})"
    return AnswerVerdict(Verdict.RETRY, f"{service}: {text}")


def not_2xx(service: str, answer: ServiceAnswer, message: object = None, advice: str | None = None) -> AnswerVerdict:
    """Judges by the status. message: the service's; if it is not text, the body's beginning is shown instead."""
    if not isinstance(message, str):
        message = "an HTML page" if is_html(answer) else answer.body[:MAX_TEXT].decode("utf-8", "replace")
    overloaded = answer.status == 429
    advice = advice or (OVERLOADED.advice if overloaded else None)
    return AnswerVerdict(
        by_status(answer.status), describe(service, message, answer.status, advice), overloaded=overloaded
    )
