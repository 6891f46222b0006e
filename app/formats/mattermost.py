"""`mattermost`: Mattermost's incoming webhooks."""

import re
from collections.abc import Sequence
from datetime import datetime

from app.domain.event import Event
from app.domain.foreign_json import read_object
from app.domain.verdict import Verdict
from app.formats.attachment import attachment
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.markdown import defuse_mentions
from app.formats.message import Message
from app.formats.sanitize import units
from app.formats.urls import path
from app.formats.verdicts import describe, not_2xx, other_2xx, succeeded

SERVICE = "Mattermost"
MAX_LENGTH = 16_383  # characters
# Characters that a backslash escapes in Mattermost's Markdown; `<` and `&` are not among them.
MARKUP = re.compile(r"([\\`*_\[\]~|#>])|\A([-+])")
# By the end of an error's id.
ADVICE = {
    "invalid.app_error": "the webhook was removed, or the URL is wrong: create a new one",
    "disabled.app_error": "the server's admins have disabled webhooks",
    "channel.app_error": "the channel no longer exists",
}


def _text(text: str) -> str:
    return defuse_mentions(MARKUP.sub(lambda match: f"\\{match[0]}", text))


def _body(message: Message) -> Body:
    return {"attachments": [attachment(message, _text)]}


def _fits(_: Body, encoded: bytes) -> bool:
    return units(encoded.decode()) <= MAX_LENGTH


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit(events, options, _body, _fits))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, lambda text: {"text": text}, _text))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    if succeeded(answer) and answer.body.strip() == b"ok":
        return AnswerVerdict(Verdict.DELIVERED)
    error = read_object(answer.body)
    advice = next((advice for end, advice in ADVICE.items() if str(error.get("id")).endswith(end)), None)
    if not succeeded(answer):
        return not_2xx(SERVICE, answer, error.get("message"), advice)
    if advice:
        return AnswerVerdict(Verdict.REFUSED, describe(SERVICE, error.get("message"), advice=advice))
    return other_2xx(SERVICE, answer)


FORMAT = Format("mattermost", render, judge, render_fallback, limit="16,383 characters", bot=path)
