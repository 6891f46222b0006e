"""`wecom`: group bots of WeCom (WeChat for companies)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, format_line, link
from app.formats.message import Fact, Message, MessageLine, Severity
from app.formats.urls import in_domain, invalid_url, path, query_parameter
from app.formats.verdicts import OVERLOADED, UNKNOWN, Code, by_number, rejected

SERVICE = "WeCom"
HOST = "qyapi.weixin.qq.com"
MAX_BYTES = 4_096  # of the content
# WeCom has three colours: green, grey and orange.
COLOURS = {
    Severity.GOOD: "info",
    Severity.BAD: "warning",
    Severity.LOST: "comment",
    Severity.LATE: "warning",
    Severity.NOTE: "comment",
}
# WeCom's Markdown has no backslash escape: these look like the markup characters but have no meaning.
LOOKALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］", "`": "ˋ", "*": "∗", "#": "＃"})
# Busy is temporary, but three attempts are enough: hence REFUSED, not RETRY.
BUSY = Code(Verdict.REFUSED, "WeCom is busy")
CODES = {
    -1: BUSY,
    6000: BUSY,
    40008: rejected(SERVICE),
    40058: rejected(SERVICE),
    45009: OVERLOADED,
    45033: OVERLOADED,
    93000: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
}


def _text(text: str) -> str:
    return defuse_mentions(text.translate(LOOKALIKES))


def _fact(fact: Fact) -> str:
    return f'><font color="comment">{_text(fact.label)}:</font> {_text(fact.value)}'


def _line(line: MessageLine) -> str:
    return format_line(line, _text)


def _body(message: Message) -> Body:
    lines = [
        f'### <font color="{COLOURS[message.severity]}">{_text(message.title)}</font>',
        *filter(None, [message.why]),
        *map(_fact, message.facts),
        *map(_line, message.lines),
        *filter(None, [message.more]),
    ]
    if message.link:
        lines.append(link(*message.link))
    return {"msgtype": "markdown", "markdown": {"content": "\n".join(lines)}}


def _fits(body: Body, _: bytes) -> bool:
    return len(body["markdown"]["content"].encode()) <= MAX_BYTES


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit(events, options, _body, _fits))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, _text_body))


def _text_body(text: str) -> Body:
    return {"msgtype": "text", "text": {"content": text}}


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    number = integer(body.get("errcode"))
    return by_number(SERVICE, answer, number, body.get("errmsg"), CODES.get(number or 0, UNKNOWN))


def bot(url: CallbackUrl) -> str:
    return query_parameter(url.raw, "key") or path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not query_parameter(url.raw, "key"):
        raise invalid_url("lacks its key", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…")


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, HOST)


FORMAT = Format(
    "wecom",
    render,
    judge,
    render_fallback,
    limit="4,096 bytes of content",
    digest=20,
    rate_limit=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    recognises=recognises,
)
