"""`googlechat`: the webhooks of Google Chat's spaces."""

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
from app.formats.urls import argument, below, path, refused
from app.formats.verdicts import is_object, no_success, not_2xx, part, said, succeeded

SERVICE = "Google Chat"
HOST = "chat.googleapis.com"
MOST_BYTES = 32_000
MINUTE = timedelta(minutes=1)
ADVICE = {
    "INVALID_ARGUMENT": "Google Chat does not take the message, or the URL is not complete",
    "UNAUTHENTICATED": "the URL's key or token is wrong: make a new webhook",
    "PERMISSION_DENIED": "the space's managers or the organisation do not allow it",
    "NOT_FOUND": "the space or the webhook is gone",
    "RESOURCE_EXHAUSTED": "asked too often",
}
# Labels are shown as they are, by some clients as HTML.
BRACKETS = str.maketrans("<>", "‹›")


def _line(line: MessageLine) -> str:
    name = html.escape(line.name)
    if line.link:
        name = f'<a href="{html.escape(line.link)}">{name}</a>'
    return f"{line.sign} {name}" + (f" · {html.escape(line.about)}" if line.about else "")


def _paragraph(text: str) -> Body:
    return {"textParagraph": {"text": text}}


def _fact(fact: Fact) -> Body:
    label = fact.label.translate(BRACKETS)
    return {"decoratedText": {"topLabel": label, "text": html.escape(fact.value), "wrapText": True}}


def _body(message: Message) -> Body:
    """The title is a paragraph: a card's header has no colour and shows one line."""
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


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(
        wishes.url,
        fit(events, wishes, _body, within(MOST_BYTES)),
        {"Content-Type": "application/json; charset=UTF-8"},
    )


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    if answer.status == 200 and is_object(answer):
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer):
        return no_success(SERVICE, answer)
    error = part(said(answer), "error")
    judged = not_2xx(SERVICE, answer, error.get("message"), ADVICE.get(str(error.get("status"))))
    # Google does not tell how long: its quota is by the minute.
    return AnswerVerdict(
        judged.verdict, judged.service_message, MINUTE if judged.overloaded else None, judged.overloaded
    )


def bot(url: CallbackUrl) -> str:
    """Not the webhook: all that post into a space share what it takes."""
    return path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not argument(url.raw, "key") or not argument(url.raw, "token"):
        raise refused("lacks its key or token", "copy all of https://chat.googleapis.com/v1/spaces/…?key=…&token=…")


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, HOST)


FORMAT = Format(
    "googlechat",
    render,
    judge,
    limit="32,000 bytes",
    digest=20,
    pace=RateLimit(60, MINUTE),
    bot=bot,
    check=check,
    known_by=known_by,
)
