"""`googlechat`: webhooks of Google Chat spaces."""

import html
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.urls import in_domain, invalid_url, path, query_parameter
from app.formats.verdicts import OVERLOADED, is_object, json_object, nested_object, not_2xx, succeeded, unexpected_2xx

SERVICE = "Google Chat"
HOST = "chat.googleapis.com"
MAX_BYTES = 32_000
MINUTE = timedelta(minutes=1)
ADVICE = {
    "INVALID_ARGUMENT": "Google Chat rejected the message, or the URL is not complete",
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
    return Outgoing(
        options.url,
        fit(events, options, _body, within(MAX_BYTES)),
        {"Content-Type": "application/json; charset=UTF-8"},
    )


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    if answer.status == 200 and is_object(answer):
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer):
        return unexpected_2xx(SERVICE, answer)
    error = nested_object(json_object(answer), "error")
    found = not_2xx(SERVICE, answer, error.get("message"), ADVICE.get(str(error.get("status"))))
    # Google gives no wait: its quota is per minute.
    return AnswerVerdict(found.verdict, found.service_message, MINUTE if found.overloaded else None, found.overloaded)


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
    limit="32,000 bytes",
    digest=20,
    rate_limit=RateLimit(60, MINUTE),
    bot=bot,
    check=check,
    recognises=recognises,
)
