"""`telegram`: Telegram bots, through `sendMessage`."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict
from app.formats import links
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.message import Fact, Message, MessageLine
from app.formats.sanitize import ZERO_WIDTH_SPACE, units
from app.formats.urls import add_parameter, in_domain, invalid_url, path, query_parameter, remove_parameter
from app.formats.verdicts import describe, is_false, nested_object, not_2xx, other_2xx, seconds, succeeded

SERVICE = "Telegram"
HOST = "api.telegram.org"
CHAT = "chat_id"
METHOD = "/sendMessage"
BOT = re.compile(r"(?P<bot>/bot[^/]+(?:/test)?)(?:/sendMessage)?/?")
CHAT_ID = re.compile(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64}")
MAX_LENGTH = 4_096  # characters; Telegram excludes markup from the count, the bridge includes it
NO_PREVIEW: Body = {"link_preview_options": {"is_disabled": True}}
# By a part of the error's description, which may begin with "Bad Request: " or the like.
ADVICE = {
    "chat not found": "chat_id is wrong, or the bot is not in the chat",
    "bot was blocked by the user": "the user must start the bot again",
    "bot was kicked": "add the bot to the chat again",
    "bot is not a member": "add the bot to the chat",
    "not enough rights": "the chat's admins must let the bot write",
    "message thread not found": "message_thread_id is wrong",
    "unauthorized": "the bot's token is wrong or was revoked",
    "not found": "the bot's token is wrong: copy all of it",
}


def _defuse(text: str) -> str:
    """Defuses mentions (`@name`), commands (`/word`) and hashtags."""
    return re.sub(r"([@/#])", rf"\1{ZERO_WIDTH_SPACE}", text)


def _text(text: str) -> str:
    return html.escape(_defuse(text), quote=False)


def _exact(text: str) -> str:
    """Telegram finds no mentions or commands in `<code>`, and copies it on a tap."""
    return f"<code>{html.escape(text, quote=False)}</code>"


def _fact(fact: Fact) -> str:
    return f"<b>{_text(fact.label)}:</b> {_exact(fact.value) if fact.exact else _text(fact.value)}"


def _line(line: MessageLine) -> str:
    name = f'<a href="{html.escape(line.link)}">{_text(line.name)}</a>' if line.link else _text(line.name)
    return f"{line.emoji} {name}" + (f" · {_text(line.about)}" if line.about else "")


def _body(message: Message) -> Body:
    lines = [
        f"<b>{_text(message.title)}</b>",
        *filter(None, [message.why]),
        *map(_fact, message.facts),
        *map(_line, message.lines),
        *filter(None, [message.more]),
    ]
    body: Body = {"text": "\n".join(lines), "parse_mode": "HTML", **NO_PREVIEW}
    if message.link:
        url, label = message.link
        body["reply_markup"] = {"inline_keyboard": [[{"text": label, "url": url}]]}
    return body


def _fits(body: Body, _: bytes) -> bool:
    return units(body["text"]) <= MAX_LENGTH


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    url, chat = _url_and_chat(options.url)
    # A button with another link makes Telegram refuse the message: "Wrong HTTP URL".
    options = links.public_only(options)
    return Outgoing(url, fit(events, options, lambda message: {CHAT: chat, **_body(message)}, _fits))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    url, chat = _url_and_chat(options.url)
    return Outgoing(url, fit_text(events, options, lambda text: {CHAT: chat, "text": text, **NO_PREVIEW}, _defuse))


def _url_and_chat(given: str) -> tuple[str, str | None]:
    """Takes the chat's id out of the query; other parameters, such as a topic, stay there."""
    parts = urlsplit(remove_parameter(given, CHAT))
    bot = BOT.fullmatch(parts.path)
    url = parts._replace(path=bot["bot"] + METHOD).geturl() if bot else parts.geturl()
    return url, query_parameter(given, CHAT)


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    if succeeded(answer) and not is_false(body.get("ok")):
        return AnswerVerdict(Verdict.DELIVERED) if body.get("ok") is True else other_2xx(SERVICE, answer)
    error = replace(answer, status=_status(answer, body))
    parameters, description = nested_object(body, "parameters"), body.get("description")
    chat = integer(parameters.get("migrate_to_chat_id"))
    if chat is not None and answer.url:
        url = add_parameter(remove_parameter(answer.url, CHAT), CHAT, str(chat))
        return AnswerVerdict(
            Verdict.RETRY, describe(SERVICE, description, error.status, "the chat has a new id"), url=url
        )
    advice = next((ADVICE[known] for known in ADVICE if known in str(description).lower()), None)
    found = not_2xx(SERVICE, error, description, advice)
    return replace(found, retry_after=seconds(parameters.get("retry_after")))


def _status(answer: ServiceAnswer, body: Mapping[str, Any]) -> int:
    """Returns the body's status if an error comes as a 200."""
    status = integer(body.get("error_code")) or 400
    return (status if status >= 300 else 400) if succeeded(answer) else answer.status


def bot(url: CallbackUrl) -> str:
    """Includes the chat: the rate limit is per chat."""
    match = BOT.fullmatch(path(url))
    return f"{match['bot'] if match else path(url)}|{query_parameter(url.raw, CHAT)}"


def check(url: CallbackUrl, _: str | None) -> None:
    if not BOT.fullmatch(path(url)):
        raise invalid_url("is not a bot's URL", "https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>")
    if not CHAT_ID.fullmatch(query_parameter(url.raw, CHAT) or ""):
        raise invalid_url(
            "lacks a valid chat_id",
            "append ?chat_id=<chat>; groups have negative ids, channels may use a name: ?chat_id=@name",
        )


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, HOST)


# The rate limit of groups. A private chat allows one a second; events that wait are merged into one message.
FORMAT = Format(
    "telegram",
    render,
    judge,
    render_fallback,
    limit="4,096 characters of text",
    digest=16,
    rate_limit=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    recognises=recognises,
)
