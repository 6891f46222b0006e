"""`dingtalk`: custom bots of DingTalk."""

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, one_of_several
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.urls import argument, below, path, refused, refused_secret, with_argument
from app.formats.verdicts import UNKNOWN, Code, by_number, integer, said

SERVICE = "DingTalk"
HOST = "oapi.dingtalk.com"
ARGUMENT = "access_token"
MOST_BYTES = 20_000
SIGNS = re.compile(r"([\\`*_\[\]~|#])")
# Its Markdown takes some HTML, and no backslash against it.
BRACKETS = str.maketrans("<>", "＜＞")

BANNED = Code(
    Verdict.RETRY, "asked too often: it takes nothing for ten minutes", timedelta(minutes=10), overloaded=True
)
CODES = {
    # Busy. Not for long: three tries in all, as of what is refused.
    -1: Code(Verdict.REFUSED, "DingTalk is busy"),
    90030: BANNED,
    130101: BANNED,
    410100: BANNED,
    300001: Code(Verdict.REFUSED, "the URL is wrong: copy all of it"),
    400013: Code(Verdict.REFUSED, "the group was dissolved"),
    400101: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
    400102: Code(Verdict.REFUSED, "the bot is switched off"),
    400106: Code(Verdict.REFUSED, "the bot was removed"),
    430101: Code(Verdict.REFUSED, "DingTalk takes a link in it for unsafe"),
    460101: Code(Verdict.REFUSED, "the message is too long"),
}
INSECURE = 310000
KEYWORD = "the bot wants a keyword that the message lacks: let it want the signature instead"
# What 310000 says is wrong with what secures the bot, in English or Chinese. The first that is found.
SECURED_BY = (
    (re.compile(r"sign not match|签名不匹配", re.IGNORECASE), "the secret is wrong"),
    (re.compile(r"keyword|关键词", re.IGNORECASE), KEYWORD),
    (re.compile(r"timestamp|时间戳", re.IGNORECASE), "a clock is an hour off"),
    (re.compile(r"\bip\b|白名单", re.IGNORECASE), "the bot's list of IP addresses does not hold this bridge's"),
)


def _text(text: str) -> str:
    return defuse_mentions(SIGNS.sub(r"\\\1", text.translate(BRACKETS)))


def _fact(fact: Fact) -> str:
    return f"- **{_text(fact.label)}**: {_text(fact.value)}"


def _line(line: MessageLine) -> str:
    return f"- {one_of_several(line, _text)}"


def _body(message: Message) -> Body:
    """A button makes it a card; without one it is a message in Markdown."""
    paragraphs = [
        f'### <font color="{HEX[message.severity]}">{_text(message.title)}</font>',
        *filter(None, [message.why]),
        "\n".join([*map(_fact, message.facts), *map(_line, message.lines)]),
        *filter(None, [message.more]),
    ]
    told: Body = {"title": defuse_mentions(message.title), "text": "\n\n".join(filter(None, paragraphs))}
    if not message.link:
        return {"msgtype": "markdown", "markdown": told}
    url, label = message.link
    return {"msgtype": "actionCard", "actionCard": {**told, "singleTitle": label, "singleURL": url}}


def signature(secret: str, timestamp: int) -> str:
    """timestamp: milliseconds."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), "sha256")).decode()


def render(events: Sequence[Event], wishes: MessageOptions, now: datetime) -> Outgoing:
    url = wishes.url
    if wishes.secret:
        timestamp = to_ms(now)
        url = with_argument(url, "timestamp", str(timestamp))
        url = with_argument(url, "sign", signature(wishes.secret, timestamp))
    return Outgoing(url, fit(events, wishes, _body, within(MOST_BYTES)))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    number, message = integer(body.get("errcode")), body.get("errmsg")
    return by_number(SERVICE, answer, number, message, _code(number, message))


def _code(number: int | None, message: Any) -> Code:
    if number != INSECURE:
        return CODES.get(number or 0, UNKNOWN)
    told = str(message)
    return Code(Verdict.REFUSED, next((advice for known, advice in SECURED_BY if known.search(told)), None))


def bot(url: CallbackUrl) -> str:
    return argument(url.raw, ARGUMENT) or path(url)


def check(url: CallbackUrl, secret: str | None) -> None:
    if not argument(url.raw, ARGUMENT):
        raise refused("lacks its token", "https://oapi.dingtalk.com/robot/send?access_token=…")
    if argument(url.raw, "sign") or argument(url.raw, "timestamp"):
        raise refused("carries a signature, which holds for an hour", "leave it out, give the bot's secret in `secret`")
    if secret and secret.startswith("whsec_"):
        raise refused_secret("the one that DingTalk shows beside the bot's signature, SEC…, or none")


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, HOST)


FORMAT = Format(
    "dingtalk",
    render,
    judge,
    limit="20,000 bytes",
    signs=True,
    digest=100,
    pace=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    known_by=known_by,
)
