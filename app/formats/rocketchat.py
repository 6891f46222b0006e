"""`rocketchat`: Rocket.Chat's incoming integrations."""

import re
from collections.abc import Sequence
from datetime import datetime

from app.domain.event import Event
from app.domain.foreign_json import read_object
from app.domain.verdict import Verdict
from app.formats.attachment import attachment
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.message import Message
from app.formats.sanitize import ZERO_WIDTH_SPACE
from app.formats.urls import path
from app.formats.verdicts import describe, is_false, not_2xx, other_2xx, succeeded

SERVICE = "Rocket.Chat"
# Rocket.Chat documents no limit; people read no more. Titles may have 1,024 characters and are always shorter.
MAX_BYTES = 20_000
ADVICE = {
    "error-invalid-channel": "the channel no longer exists",
    "Invalid integration id or token provided.": "the URL is wrong, or the integration was removed",
}


def _text(text: str) -> str:
    """Escapes with a backslash where Rocket.Chat's Markdown allows it; otherwise with a zero-width space."""
    separated = re.sub(r"([@<\]|\\])", rf"\1{ZERO_WIDTH_SPACE}", text)
    return re.sub(r"([*_~`#])", r"\\\1", separated)


def _body(message: Message) -> Body:
    body = attachment(message, _text)
    if message.link:
        url, label = message.link
        body["actions"] = [{"type": "button", "text": label, "url": url}]
    return {"attachments": [body]}


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit(events, options, _body, within(MAX_BYTES)))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, lambda text: {"text": text}, _text))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    error = body.get("error") or body.get("message")
    advice = ADVICE.get(str(error))
    if not succeeded(answer):
        return not_2xx(SERVICE, answer, error, advice)
    if is_false(body.get("success")):
        return AnswerVerdict(Verdict.REFUSED, describe(SERVICE, error, advice=advice), malformed=advice is None)
    if body.get("success") is True or answer.body.strip() == b"{}":
        return AnswerVerdict(Verdict.DELIVERED)
    return other_2xx(SERVICE, answer)


FORMAT = Format("rocketchat", render, judge, render_fallback, limit="20,000 bytes", bot=path)
