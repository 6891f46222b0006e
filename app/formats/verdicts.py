"""What answers mean, as far as services agree: status first, then what the body says; codes are data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.verdict import Verdict, by_status
from app.formats.format import AnswerVerdict, ServiceAnswer
from app.formats.sanitize import plain

LONGEST = 200  # characters of what a service says
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")


@dataclass(frozen=True, slots=True)
class Code:
    """What one of a service's own codes means. advice: what a person can do. wait, crowded: see Judgement."""

    verdict: Verdict
    advice: str | None = None
    wait: timedelta | None = None
    overloaded: bool = False


# What a code means that no table knows: a person must look.
UNKNOWN = Code(Verdict.REFUSED)
CROWDED = Code(Verdict.RETRY, "asked too often", overloaded=True)


def by_status_alone(answer: ServiceAnswer) -> AnswerVerdict:
    return AnswerVerdict(by_status(answer.status), overloaded=answer.status == 429)


def succeeded(answer: ServiceAnswer) -> bool:
    return by_status(answer.status) is Verdict.DELIVERED


def is_html(answer: ServiceAnswer) -> bool:
    """A proxy's login page or the like, whatever the status."""
    named = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
    return ("html" in named.lower() and bool(answer.body.strip())) or answer.body.lstrip()[:16].lower().startswith(HTML)


def said(answer: ServiceAnswer) -> dict[str, Any]:
    """The JSON object that the body is; empty if it is none."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def is_object(answer: ServiceAnswer) -> bool:
    """Whether it is a JSON object, be it an empty one."""
    return bool(said(answer)) or answer.body.strip() == b"{}"


def part(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object in it of that name; empty if there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def integer(value: object) -> int | None:
    """None for what is none, `true` among it."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def seconds(value: object) -> timedelta | None:
    """None for what is no sensible number of them."""
    try:
        wait = timedelta(seconds=float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return wait if wait >= timedelta() else None


def describe(service: str, message: object, code: object = None, advice: str | None = None) -> str:
    """`DingTalk: sign not match (310000): the secret is wrong`; `DingTalk: answered 310000` if it says no more."""
    text = plain(message, LONGEST) if isinstance(message, str) else ""
    number = "" if code is None else plain(str(code), 40)
    if text and number:
        text = f"{text} ({number})"
    told = text or f"answered {number or 'no reason'}"
    return f"{service}: {told}" + (f": {advice}" if advice else "")


def by_code(service: str, code: Code, message: object, number: object = None) -> AnswerVerdict:
    return AnswerVerdict(code.verdict, describe(service, message, number, code.advice), code.wait, code.overloaded)


def by_number(service: str, answer: ServiceAnswer, number: int | None, message: object, code: Code) -> AnswerVerdict:
    """For services that say 0 in a 200 when all is well. code: what the number means, if it is another."""
    if answer.status == 200 and number == 0:
        return AnswerVerdict(Verdict.DELIVERED)
    if number and by_status(answer.status) in {Verdict.DELIVERED, Verdict.REFUSED}:
        return by_code(service, code, message, number)
    return no_success(service, answer) if succeeded(answer) else not_2xx(service, answer, message)


def no_success(service: str, answer: ServiceAnswer) -> AnswerVerdict:
    """A 2xx that is not what the service answers: it did not come from there, or it has changed."""
    what = "an HTML page, as proxies show" if is_html(answer) else "not what this service answers"
    return AnswerVerdict(Verdict.RETRY, f"{service}: {answer.status} with {what}")


def not_2xx(service: str, answer: ServiceAnswer, message: object = None, advice: str | None = None) -> AnswerVerdict:
    """By the status, in the service's words if it has any; the first line of a text is as good."""
    if not isinstance(message, str):
        message = "an HTML page" if is_html(answer) else answer.body[:LONGEST].decode("utf-8", "replace")
    crowded = answer.status == 429
    advice = advice or (CROWDED.advice if crowded else None)
    return AnswerVerdict(
        by_status(answer.status), describe(service, message, answer.status, advice), overloaded=crowded
    )
