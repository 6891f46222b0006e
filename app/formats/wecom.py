"""`wecom`: group bots of WeCom, which is WeChat for companies."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, link, one_of_several
from app.formats.message import Fact, Message, MessageLine, Severity
from app.formats.urls import argument, below, path, refused
from app.formats.verdicts import CROWDED, UNKNOWN, Code, by_number, integer, said

SERVICE = "WeCom"
HOST = "qyapi.weixin.qq.com"
MOST_BYTES = 4_096  # of the content
# It has three: green, grey and orange.
COLOURS = {
    Severity.GOOD: "info",
    Severity.BAD: "warning",
    Severity.LOST: "comment",
    Severity.LATE: "warning",
    Severity.NOTE: "comment",
}
# No backslash helps in its Markdown: these look like the signs and mean nothing.
LOOKALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］", "`": "ˋ", "*": "∗", "#": "＃"})
BUSY = Code(Verdict.REFUSED, "WeCom is busy")  # not for long: three tries in all, as of what is refused
CODES = {
    -1: BUSY,
    6000: BUSY,
    40008: Code(Verdict.REFUSED, "WeCom does not take the message"),
    40058: Code(Verdict.REFUSED, "WeCom does not take the message"),
    45009: CROWDED,
    45033: CROWDED,
    93000: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
}


def _text(text: str) -> str:
    return defuse_mentions(text.translate(LOOKALIKES))


def _fact(fact: Fact) -> str:
    return f'><font color="comment">{_text(fact.label)}:</font> {_text(fact.value)}'


def _line(line: MessageLine) -> str:
    return one_of_several(line, _text)


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
    return len(body["markdown"]["content"].encode()) <= MOST_BYTES


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(wishes.url, fit(events, wishes, _body, _fits))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    number = integer(body.get("errcode"))
    return by_number(SERVICE, answer, number, body.get("errmsg"), CODES.get(number or 0, UNKNOWN))


def bot(url: CallbackUrl) -> str:
    return argument(url.raw, "key") or path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not argument(url.raw, "key"):
        raise refused("lacks its key", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…")


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, HOST)


FORMAT = Format(
    "wecom",
    render,
    judge,
    limit="4,096 bytes of content",
    digest=20,
    pace=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    known_by=known_by,
)
