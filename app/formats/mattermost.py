"""`mattermost`: Mattermost's incoming webhooks."""

import re
from collections.abc import Sequence
from datetime import datetime

from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.attachment import attachment
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.markdown import defuse_mentions
from app.formats.message import Message
from app.formats.sanitize import units
from app.formats.urls import path
from app.formats.verdicts import no_success, not_2xx, said, succeeded

SERVICE = "Mattermost"
MOST = 16_383  # characters
# Those that its Markdown takes a backslash before; `<` and `&` are not among them.
MARKUP = re.compile(r"([\\`*_\[\]~|#>])|\A([-+])")
# By what the ids of its errors end with.
ADVICE = {
    "invalid.app_error": "the webhook was removed, or the URL is wrong: make a new one",
    "disabled.app_error": "the server's admins have switched webhooks off",
    "channel.app_error": "the channel is gone",
}


def _text(text: str) -> str:
    return defuse_mentions(MARKUP.sub(lambda sign: f"\\{sign[0]}", text))


def _body(message: Message) -> Body:
    return {"attachments": [attachment(message, _text)]}


def _fits(_: Body, written: bytes) -> bool:
    return units(written.decode()) <= MOST


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(wishes.url, fit(events, wishes, _body, _fits))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    if answer.status == 200 and answer.body.strip() == b"ok":
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer):
        return no_success(SERVICE, answer)
    error = said(answer)
    advice = next((advice for end, advice in ADVICE.items() if str(error.get("id")).endswith(end)), None)
    return not_2xx(SERVICE, answer, error.get("message"), advice)


FORMAT = Format("mattermost", render, judge, limit="16,383 characters", bot=path)
