"""`rocketchat`: Rocket.Chat's incoming integrations."""

import re
from collections.abc import Sequence
from datetime import datetime

from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.attachment import attachment
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.message import Message
from app.formats.sanitize import NOTHING
from app.formats.urls import path
from app.formats.verdicts import describe, is_object, no_success, not_2xx, said, succeeded

SERVICE = "Rocket.Chat"
MOST_BYTES = 20_000  # no limit is told; so much a person still reads. Titles may have 1,024 characters, and never do.
ADVICE = {
    "error-invalid-channel": "the channel is gone",
    "Invalid integration id or token provided.": "the URL is wrong, or the integration was removed",
}


def _text(text: str) -> str:
    """Its Markdown knows a backslash before some signs; the others are parted from what follows."""
    apart = re.sub(r"([@<\]|\\])", rf"\1{NOTHING}", text)
    return re.sub(r"([*_~`#])", r"\\\1", apart)


def _body(message: Message) -> Body:
    body = attachment(message, _text)
    if message.link:
        url, label = message.link
        body["actions"] = [{"type": "button", "text": label, "url": url}]
    return {"attachments": [body]}


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(wishes.url, fit(events, wishes, _body, within(MOST_BYTES)))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    error = body.get("error") or body.get("message")
    advice = ADVICE.get(str(error))
    if not succeeded(answer):
        return not_2xx(SERVICE, answer, error, advice)
    if not is_object(answer):
        return no_success(SERVICE, answer)
    if body.get("success") is False:
        return AnswerVerdict(Verdict.REFUSED, describe(SERVICE, error, advice=advice))
    return AnswerVerdict(Verdict.DELIVERED)


FORMAT = Format("rocketchat", render, judge, limit="20,000 bytes", bot=path)
