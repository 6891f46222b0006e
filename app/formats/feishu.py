"""`feishu`: custom bots of Feishu and Lark."""

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import one_of_several
from app.formats.message import Fact, Message, MessageLine, Severity
from app.formats.urls import below, path, refused, refused_secret
from app.formats.verdicts import CROWDED, UNKNOWN, Code, by_number, integer, said

SERVICE = "Feishu"
HOSTS = ("open.feishu.cn", "open.larksuite.com")
HOOK = re.compile(r"/open-apis/bot/v2/hook/[^/]+/?")
MOST_BYTES = 20_000
COLOURS = {
    Severity.GOOD: "green",
    Severity.BAD: "red",
    Severity.LOST: "grey",
    Severity.LATE: "orange",
    Severity.NOTE: "blue",
}
NARROW = 24  # characters: two such facts stand side by side
SIGNS = re.compile(r"[<>*~`\[\]#&\\]")

TOO_MANY = "too many request"  # the one meaning of 9499 that passes
CODES = {
    9499: Code(Verdict.REFUSED, "Feishu does not take the message"),
    11232: CROWDED,
    19001: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
    19002: Code(Verdict.REFUSED, "Feishu does not take the message"),
    19007: Code(Verdict.REFUSED, "the bot is switched off"),
    19021: Code(Verdict.REFUSED, "the secret is wrong, or a clock is an hour off"),
    19022: Code(Verdict.REFUSED, "the bot's list of IP addresses does not hold this bridge's"),
    19024: Code(Verdict.REFUSED, "the bot wants a keyword that the message lacks: let it want the signature instead"),
}


def _text(text: str) -> str:
    """As numbers, which its Markdown shows as the signs: no `<at …>`, no link, nothing bold."""
    return SIGNS.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _fact(fact: Fact) -> Body:
    text = {"tag": "lark_md", "content": f"**{_text(fact.label)}**\n{_text(fact.value)}"}
    return {"is_short": len(fact.value) <= NARROW, "text": text}


def _line(line: MessageLine) -> str:
    return one_of_several(line, _text)


def _card(message: Message) -> Body:
    elements: list[Body] = []
    if message.why:
        elements.append({"tag": "div", "text": {"tag": "plain_text", "content": message.why}})
    if message.facts:
        elements.append({"tag": "div", "fields": [*map(_fact, message.facts)]})
    if lines := [*map(_line, message.lines), *filter(None, [message.more])]:
        elements.append({"tag": "div", "text": {"tag": "lark_md", "content": "\n".join(lines)}})
    if message.link:
        url, label = message.link
        button = {"tag": "button", "text": {"tag": "plain_text", "content": label}, "type": "default", "url": url}
        elements.append({"tag": "action", "actions": [button]})
    title = {"tag": "plain_text", "content": message.title}
    return {
        "config": {"wide_screen_mode": True},
        "header": {"template": COLOURS[message.severity], "title": title},
        "elements": elements,
    }


def signature(secret: str, timestamp: int) -> str:
    """timestamp: seconds. The key is what one would expect to be signed, the message is empty: so Feishu has it."""
    return base64.b64encode(hmac.digest(f"{timestamp}\n{secret}".encode(), b"", "sha256")).decode()


def render(events: Sequence[Event], wishes: MessageOptions, now: datetime) -> Outgoing:
    signed: Body = {}
    if wishes.secret:
        timestamp = int(now.timestamp())
        signed = {"timestamp": str(timestamp), "sign": signature(wishes.secret, timestamp)}

    def body(message: Message) -> Body:
        return {**signed, "msg_type": "interactive", "card": _card(message)}

    return Outgoing(wishes.url, fit(events, wishes, body, within(MOST_BYTES)))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    number = integer(body.get("code", body.get("StatusCode")))
    message = body.get("msg") or body.get("StatusMessage")
    passes = number == 9499 and TOO_MANY in str(message).lower()
    return by_number(SERVICE, answer, number, message, CROWDED if passes else CODES.get(number or 0, UNKNOWN))


def check(url: CallbackUrl, secret: str | None) -> None:
    if known_by(url) and not HOOK.fullmatch(path(url)):
        raise refused(
            "not a custom bot of Feishu's",
            f"https://{url.host}/open-apis/bot/v2/hook/…; add a custom bot to the group for one",
        )
    if secret and secret.startswith("whsec_"):
        raise refused_secret("the one that Feishu shows under the bot's signature verification, or none")


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, *HOSTS)


FORMAT = Format(
    "feishu",
    render,
    judge,
    limit="20,000 bytes",
    signs=True,
    pace=RateLimit(100, timedelta(minutes=1)),
    bot=path,
    check=check,
    known_by=known_by,
)
