"""`googlechat`: webhooks of Google Chat spaces."""

import html
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.urls import in_domain, invalid_url, path, query_parameter
from app.formats.verdicts import OVERLOADED, nested_object, not_2xx, other_2xx, succeeded

SERVICE = "Google Chat"
HOST = "chat.googleapis.com"
MAX_BYTES = 32_000
MINUTE = timedelta(minutes=1)
HEADERS = {"Content-Type": "application/json; charset=UTF-8"}
BAD_REQUEST = 400
INVALID = "INVALID_ARGUMENT"
ADVICE = {
    INVALID: "Google Chat rejected the message, or the URL is not complete",
    "UNAUTHENTICATED": "the URL's key or token is wrong: create a new webhook",
    "PERMISSION_DENIED": "the space's managers or the organisation do not allow it",
    "NOT_FOUND": "the space or the webhook no longer exists",
    "RESOURCE_EXHAUSTED": OVERLOADED.advice,
}
# Labels have no escape: some clients show them as they are, some as HTML.
BRACKETS = str.maketrans("<>", "‹›")


def _line(line: MessageLine) -> str:
    name = html.escape(line.name)
    if line.link:
        name = f'<a href="{html.escape(line.link)}">{name}</a>'
    return f"{line.emoji} {name}" + (f" · {html.escape(line.about)}" if line.about else "")


def _paragraph(text: str) -> Body:
    return {"textParagraph": {"text": text}}


def _fact(fact: Fact) -> Body:
    label = fact.label.translate(BRACKETS)
    return {"decoratedText": {"topLabel": label, "text": html.escape(fact.value), "wrapText": True}}


def _body(message: Message) -> Body:
    """Puts the title in a paragraph: a card's header has no colour and shows only one line."""
    widgets = [_paragraph(f'<b><font color="{HEX[message.severity]}">{html.escape(message.title)}</font></b>')]
    if message.why:
        widgets.append(_paragraph(message.why))
    widgets += map(_fact, message.facts)
    if lines := [*map(_line, message.lines), *filter(None, [message.more])]:
        widgets.append(_paragraph("<br>".join(lines)))
    if message.link:
        url, label = message.link
        button: dict[str, Any] = {"text": label, "onClick": {"openLink": {"url": url}}}
        widgets.append({"buttonList": {"buttons": [button]}})
    card = {"cardId": "cph", "card": {"sections": [{"widgets": widgets}]}}
    return {"cardsV2": [card], "fallbackText": defuse_mentions(message.title)}


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit(events, options, _body, within(MAX_BYTES)), HEADERS)


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, lambda text: {"text": text}), HEADERS)


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    error = nested_object(body, "error")
    status = integer(error.get("code"))
    if succeeded(answer) and error and status is not None and status >= BAD_REQUEST:
        answer = replace(answer, status=status)
    if succeeded(answer):
        return AnswerVerdict(Verdict.DELIVERED) if "name" in body else other_2xx(SERVICE, answer)
    found = not_2xx(SERVICE, answer, error.get("message"), ADVICE.get(str(error.get("status"))))
    malformed = found.malformed or (answer.status == BAD_REQUEST and error.get("status") == INVALID)
    # Google gives no wait: its quota is per minute.
    return replace(found, retry_after=MINUTE if found.overloaded else None, malformed=malformed)


def bot(url: CallbackUrl) -> str:
    """Returns the space's path: all webhooks of a space share its rate limit."""
    return path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not query_parameter(url.raw, "key") or not query_parameter(url.raw, "token"):
        raise invalid_url("lacks its key or token", "copy all of https://chat.googleapis.com/v1/spaces/…?key=…&token=…")


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, HOST)


FORMAT = Format(
    "googlechat",
    render,
    judge,
    render_fallback,
    limit="32,000 bytes",
    digest=20,
    rate_limit=RateLimit(60, MINUTE),
    bot=bot,
    check=check,
    recognises=recognises,
)
