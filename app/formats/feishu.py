"""`feishu`: custom bots of Feishu and Lark."""

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import format_line
from app.formats.message import Fact, Message, MessageLine, Severity
from app.formats.urls import in_domain, invalid_secret, invalid_url, path
from app.formats.verdicts import OVERLOADED, UNKNOWN, Code, by_number, rejected

SERVICE = "Feishu"
HOSTS = ("open.feishu.cn", "open.larksuite.com")
HOOK = re.compile(r"/open-apis/bot/v2/hook/[^/]+/?")
MAX_BYTES = 20_000
COLOURS = {
    Severity.GOOD: "green",
    Severity.BAD: "red",
    Severity.LOST: "grey",
    Severity.LATE: "orange",
    Severity.NOTE: "blue",
}
SHORT = 24  # characters: two such facts fit side by side
MARKUP = re.compile(r"[<>*~`\[\]#&\\]")

TOO_MANY = "too many request"  # the only transient meaning of 9499
CODES = {
    9499: rejected(SERVICE),
    11232: OVERLOADED,
    19001: Code(Verdict.REFUSED, "the URL is wrong, or the bot was removed"),
    19002: rejected(SERVICE),
    19007: Code(Verdict.REFUSED, "the bot is switched off"),
    19021: Code(Verdict.REFUSED, "the secret is wrong, or the clock is off by more than an hour"),
    19022: Code(Verdict.REFUSED, "the bot's IP allowlist lacks the bridge's address"),
    19024: Code(
        Verdict.REFUSED, "the bot requires a keyword that the message lacks: set it to require a signature instead"
    ),
}


def _text(text: str) -> str:
    """Replaces markup by numeric entities, so that it shows as text: no `<at …>`, link or bold."""
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", text)


def _fact(fact: Fact) -> Body:
    text = {"tag": "lark_md", "content": f"**{_text(fact.label)}**\n{_text(fact.value)}"}
    return {"is_short": len(fact.value) <= SHORT, "text": text}


def _line(line: MessageLine) -> str:
    return format_line(line, _text)


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
    """timestamp: seconds. Feishu uses timestamp and secret as the HMAC key, and an empty message."""
    return base64.b64encode(hmac.digest(f"{timestamp}\n{secret}".encode(), b"", "sha256")).decode()


def render(events: Sequence[Event], options: MessageOptions, now: datetime) -> Outgoing:
    signed = _signed(options.secret, now)

    def body(message: Message) -> Body:
        return {**signed, "msg_type": "interactive", "card": _card(message)}

    return Outgoing(options.url, fit(events, options, body, within(MAX_BYTES)))


def render_fallback(events: Sequence[Event], options: MessageOptions, now: datetime) -> Outgoing:
    signed = _signed(options.secret, now)

    def body(text: str) -> Body:
        return {**signed, "msg_type": "text", "content": {"text": text}}

    return Outgoing(options.url, fit_text(events, options, body))


def _signed(secret: str | None, now: datetime) -> Body:
    if not secret:
        return {}
    timestamp = int(now.timestamp())
    return {"timestamp": str(timestamp), "sign": signature(secret, timestamp)}


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    numbers = (integer(body.get(name)) for name in ("code", "StatusCode"))
    number = next((number for number in numbers if number is not None), None)
    message = body.get("msg") or body.get("StatusMessage")
    rate_limited = number == 9499 and TOO_MANY in str(message).lower()
    code = OVERLOADED if rate_limited else CODES.get(number or 0, UNKNOWN)
    return by_number(SERVICE, answer, number, message, code)


def check(url: CallbackUrl, secret: str | None) -> None:
    if recognises(url) and not HOOK.fullmatch(path(url)):
        raise invalid_url(
            "is not a custom bot's URL",
            f"https://{url.host}/open-apis/bot/v2/hook/…; to get one, add a custom bot to the group",
        )
    if secret and secret.startswith("whsec_"):
        raise invalid_secret("use the one that Feishu shows under the bot's signature verification, or none")


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, *HOSTS)


FORMAT = Format(
    "feishu",
    render,
    judge,
    render_fallback,
    limit="20,000 bytes",
    signs=True,
    rate_limit=RateLimit(100, timedelta(minutes=1)),
    bot=path,
    check=check,
    recognises=recognises,
)
