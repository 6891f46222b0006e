"""`dingtalk`: DingTalk's custom bots."""

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.times import to_ms
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, format_line
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.urls import add_parameter, in_domain, invalid_secret, invalid_url, path, query_parameter
from app.formats.verdicts import UNKNOWN, Code, by_number

SERVICE = "DingTalk"
HOST = "oapi.dingtalk.com"
PARAMETER = "access_token"
MAX_BYTES = 20_000
MARKUP = re.compile(r"([\\`*_\[\]~|#])")
# DingTalk's Markdown renders some HTML, which a backslash does not escape.
BRACKETS = str.maketrans("<>", "＜＞")

BANNED = Code(
    Verdict.RETRY, "rate limit exceeded: the bot is blocked for ten minutes", timedelta(minutes=10), overloaded=True
)
CODES = {
    # Busy is temporary, but three attempts are enough: hence REFUSED, not RETRY.
    -1: Code(Verdict.REFUSED, "DingTalk is busy"),
    90030: BANNED,
    130101: BANNED,
    410100: BANNED,
    300001: Code(Verdict.REFUSED, "the URL is wrong: copy all of it"),
    400013: Code(Verdict.REFUSED, "the group was dissolved"),
    400101: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
    400102: Code(Verdict.REFUSED, "the bot is switched off"),
    400106: Code(Verdict.REFUSED, "the bot was removed"),
    430101: Code(Verdict.REFUSED, "DingTalk considers a link in the message unsafe", malformed=True),
    460101: Code(Verdict.REFUSED, "the message is too long", malformed=True),
}
INSECURE = 310000
KEYWORD = "the bot requires a keyword that the message lacks: set it to require a signature instead"
# Which of the bot's security settings a 310000 failed, by its English or Chinese message. The first match counts.
SECURED_BY = (
    (re.compile(r"sign not match|签名不匹配", re.IGNORECASE), "the secret is wrong"),
    (re.compile(r"keyword|关键词", re.IGNORECASE), KEYWORD),
    (re.compile(r"timestamp|时间戳", re.IGNORECASE), "the clock is off by more than an hour"),
    (re.compile(r"\bip\b|白名单", re.IGNORECASE), "the bot's IP allowlist lacks the bridge's address"),
)


def _text(text: str) -> str:
    return defuse_mentions(MARKUP.sub(r"\\\1", text.translate(BRACKETS)))


def _fact(fact: Fact) -> str:
    return f"- **{_text(fact.label)}**: {_text(fact.value)}"


def _line(line: MessageLine) -> str:
    return f"- {format_line(line, _text)}"


def _body(message: Message) -> Body:
    """Builds a card if there is a link, which needs a button; otherwise a Markdown message."""
    paragraphs = [
        f'### <font color="{HEX[message.severity]}">{_text(message.title)}</font>',
        *filter(None, [message.why]),
        "\n".join([*map(_fact, message.facts), *map(_line, message.lines)]),
        *filter(None, [message.more]),
    ]
    content: Body = {"title": defuse_mentions(message.title), "text": "\n\n".join(filter(None, paragraphs))}
    if not message.link:
        return {"msgtype": "markdown", "markdown": content}
    url, label = message.link
    return {"msgtype": "actionCard", "actionCard": {**content, "singleTitle": label, "singleURL": url}}


def signature(secret: str, timestamp: int) -> str:
    """timestamp: milliseconds."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), "sha256")).decode()


def render(events: Sequence[Event], options: MessageOptions, now: datetime) -> Outgoing:
    return Outgoing(_signed_url(options, now), fit(events, options, _body, within(MAX_BYTES)))


def render_fallback(events: Sequence[Event], options: MessageOptions, now: datetime) -> Outgoing:
    return Outgoing(_signed_url(options, now), fit_text(events, options, _text_body))


def _text_body(text: str) -> Body:
    return {"msgtype": "text", "text": {"content": text}}


def _signed_url(options: MessageOptions, now: datetime) -> str:
    if not options.secret:
        return options.url
    timestamp = to_ms(now)
    url = add_parameter(options.url, "timestamp", str(timestamp))
    return add_parameter(url, "sign", signature(options.secret, timestamp))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    number, message = integer(body.get("errcode")), body.get("errmsg")
    return by_number(SERVICE, answer, number, message, _code(number, message))


def _code(number: int | None, message: Any) -> Code:
    if number != INSECURE:
        return CODES.get(number or 0, UNKNOWN)
    text = str(message)
    return Code(Verdict.REFUSED, next((advice for known, advice in SECURED_BY if known.search(text)), None))


def bot(url: CallbackUrl) -> str:
    return query_parameter(url.raw, PARAMETER) or path(url)


def check(url: CallbackUrl, secret: str | None) -> None:
    if not query_parameter(url.raw, PARAMETER):
        raise invalid_url("lacks its access_token", "https://oapi.dingtalk.com/robot/send?access_token=…")
    if query_parameter(url.raw, "sign") or query_parameter(url.raw, "timestamp"):
        raise invalid_url(
            "contains a signature, which expires after an hour", "leave it out, and set `secret` to the bot's secret"
        )
    if secret and secret.startswith("whsec_"):
        raise invalid_secret("use the one that DingTalk shows for the bot's signature, SEC…, or none")


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, HOST)


FORMAT = Format(
    "dingtalk",
    render,
    judge,
    render_fallback,
    limit="20,000 bytes",
    signs=True,
    digest=100,
    rate_limit=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    recognises=recognises,
)
