"""`telegram`: bots of Telegram's, by `sendMessage`."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.message import Fact, Message, MessageLine
from app.formats.sanitize import NOTHING, units
from app.formats.urls import argument, below, path, refused, with_argument, without
from app.formats.verdicts import describe, integer, no_success, not_2xx, part, said, seconds, succeeded

SERVICE = "Telegram"
HOST = "api.telegram.org"
CHAT = "chat_id"
METHOD = "/sendMessage"
BOT = re.compile(r"(?P<bot>/bot[^/]+(?:/test)?)(?:/sendMessage)?/?")
CHAT_ID = re.compile(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64}")
MOST = 4_096  # characters; Telegram counts without the markup, we with it
# By how the descriptions of its errors begin, after "Bad Request: " and the like.
ADVICE = {
    "chat not found": "chat_id is wrong, or the bot is not in the chat",
    "bot was blocked by the user": "the user must start the bot again",
    "bot was kicked": "add the bot to the chat again",
    "bot is not a member": "add the bot to the chat",
    "not enough rights": "the chat's admins must let the bot write",
    "message thread not found": "message_thread_id is wrong",
    "unauthorized": "the bot's token is wrong or was withdrawn",
    "not found": "the bot's token is wrong: copy all of it",
}


def _text(text: str) -> str:
    """`@name` calls whoever has that name, `/word` is a command."""
    return html.escape(re.sub(r"([@/#])", rf"\1{NOTHING}", text), quote=False)


def _exact(text: str) -> str:
    """Looked for neither names nor commands, and copied by a touch."""
    return f"<code>{html.escape(text, quote=False)}</code>"


def _fact(fact: Fact) -> str:
    return f"<b>{_text(fact.label)}:</b> {_exact(fact.value) if fact.exact else _text(fact.value)}"


def _line(line: MessageLine) -> str:
    name = f'<a href="{html.escape(line.link)}">{_text(line.name)}</a>' if line.link else _text(line.name)
    return f"{line.sign} {name}" + (f" · {_text(line.about)}" if line.about else "")


def _body(message: Message) -> Body:
    lines = [
        f"<b>{_text(message.title)}</b>",
        *filter(None, [message.why]),
        *map(_fact, message.facts),
        *map(_line, message.lines),
        *filter(None, [message.more]),
    ]
    body: Body = {"text": "\n".join(lines), "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}
    if message.link:
        url, label = message.link
        body["reply_markup"] = {"inline_keyboard": [[{"text": label, "url": url}]]}
    return body


def _fits(body: Body, _: bytes) -> bool:
    return units(body["text"]) <= MOST


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    """The chat's id goes from the query into the body; what else is in the query, such as a topic, stays there."""
    chat = argument(wishes.url, CHAT)
    parts = urlsplit(without(wishes.url, CHAT))
    bot = BOT.fullmatch(parts.path)
    url = parts._replace(path=bot["bot"] + METHOD).geturl() if bot else parts.geturl()
    return Outgoing(url, fit(events, wishes, lambda message: {CHAT: chat, **_body(message)}, _fits))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    if answer.status == 200 and body.get("ok") is True:
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer) and body.get("ok") is not False:
        return no_success(SERVICE, answer)
    refusal = replace(answer, status=_status(answer, body))
    parameters, description = part(body, "parameters"), body.get("description")
    chat = integer(parameters.get("migrate_to_chat_id"))
    if chat is not None and answer.url:
        url = with_argument(without(answer.url, CHAT), CHAT, str(chat))
        return AnswerVerdict(
            Verdict.RETRY, describe(SERVICE, description, refusal.status, "the chat has a new id"), url=url
        )
    advice = next((ADVICE[known] for known in ADVICE if known in str(description).lower()), None)
    judged = not_2xx(SERVICE, refusal, description, advice)
    return replace(judged, retry_after=seconds(parameters.get("retry_after")))


def _status(answer: ServiceAnswer, body: Mapping[str, Any]) -> int:
    """A refusal may come in a 200, with its status in the body."""
    told = integer(body.get("error_code")) or 400
    return (told if told >= 300 else 400) if succeeded(answer) else answer.status


def bot(url: CallbackUrl) -> str:
    """The pace is that of the chat."""
    match = BOT.fullmatch(path(url))
    return f"{match['bot'] if match else path(url)}|{argument(url.raw, CHAT)}"


def check(url: CallbackUrl, _: str | None) -> None:
    if not BOT.fullmatch(path(url)):
        raise refused("not a bot of Telegram's", "https://api.telegram.org/bot<token>/sendMessage?chat_id=<chat>")
    if not CHAT_ID.fullmatch(argument(url.raw, CHAT) or ""):
        raise refused(
            "does not say which chat",
            "put ?chat_id=<chat> at its end; groups have negative ids, channels may be named: ?chat_id=@name",
        )


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, HOST)


# Of groups. A private chat takes one a second; what waits there meanwhile comes in one message.
FORMAT = Format(
    "telegram",
    render,
    judge,
    limit="4,096 characters of text",
    digest=16,
    pace=RateLimit(20, timedelta(minutes=1)),
    bot=bot,
    check=check,
    known_by=known_by,
)
