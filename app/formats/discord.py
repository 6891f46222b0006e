"""`discord`: Discord's webhooks."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import integer, read_object
from app.domain.verdict import Verdict
from app.formats import links
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, escape, format_line
from app.formats.message import HEX, Message, MessageLine
from app.formats.sanitize import clip, units
from app.formats.urls import in_domain, invalid_url, path
from app.formats.verdicts import (
    OVERLOADED,
    UNKNOWN,
    Code,
    by_code,
    not_2xx,
    other_2xx,
    rejected,
    seconds,
    succeeded,
)

SERVICE = "Discord"
HOSTS = ("discord.com", "discordapp.com")
WEBHOOK = re.compile(r"/api(?:/v[0-9]+)?/webhooks/(?P<id>[0-9]+)/(?P<token>[A-Za-z0-9._-]+)/?")
TITLE, DESCRIPTION, NAME, VALUE, FIELDS, TOTAL = 256, 4_096, 256, 1_024, 25, 6_000
FIRST_CODE = 10_001
NO_MENTIONS: Body = {"allowed_mentions": {"parse": []}}

CODES = {
    10003: Code(Verdict.REFUSED, "the channel no longer exists"),
    10015: Code(Verdict.REFUSED, "the webhook was removed: create a new one"),
    20029: OVERLOADED,
    50027: Code(Verdict.REFUSED, "the URL is wrong: copy all of it"),
    40005: rejected(SERVICE),
    50006: rejected(SERVICE),
    50035: rejected(SERVICE),
}


def _text(text: str) -> str:
    return defuse_mentions(escape(text))


def _title(text: str) -> str:
    """Cuts before escaping: cutting afterwards could remove an escape."""
    escaped = _text(text)
    return escaped if units(escaped) <= TITLE else _text(clip(text, TITLE // 3))


def _line(line: MessageLine) -> str:
    return format_line(line, _text)


def _body(message: Message) -> Body:
    embed: Body = {"title": _title(message.title), "color": int(HEX[message.severity][1:], 16)}
    lines = [*filter(None, [message.why]), *map(_line, message.lines), *filter(None, [message.more])]
    if lines:
        embed["description"] = "\n".join(lines)
    if message.facts:
        embed["fields"] = [
            {"name": _text(fact.label), "value": _text(fact.value), "inline": len(fact.value) <= 40}
            for fact in message.facts
        ]
    if message.link:
        embed["url"], _ = message.link  # makes the title a link
    return {"embeds": [embed], **NO_MENTIONS}


def _fits(body: Body, _: bytes) -> bool:
    (embed,) = body["embeds"]
    fields = [(units(field["name"]), units(field["value"])) for field in embed.get("fields", ())]
    title, description = units(embed["title"]), units(embed.get("description", ""))
    total = title + description + sum(map(sum, fields))
    return (
        title <= TITLE
        and description <= DESCRIPTION
        and len(fields) <= FIELDS
        and all(name <= NAME and value <= VALUE for name, value in fields)
        and total <= TOTAL
    )


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    """Always uses version 10 of the API: without a version in the URL, Discord gives waits in milliseconds."""
    return Outgoing(_versioned(options.url), fit(events, links.public_only(options), _body, _fits))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(_versioned(options.url), fit_text(events, options, _text_body, _text))


def _text_body(text: str) -> Body:
    return {"content": text, **NO_MENTIONS}


def _versioned(url: str) -> str:
    parts = urlsplit(url)
    path = re.sub(r"\A/api(?:/v[0-9]+)?/webhooks/", "/api/v10/webhooks/", parts.path)
    return parts._replace(path=path).geturl()


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = read_object(answer.body)
    number = integer(body.get("code"))
    # With `?wait=true` in the URL, Discord returns the created message.
    if answer.status == 204 or (succeeded(answer) and "id" in body):
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer) and number and number >= FIRST_CODE:
        return by_code(SERVICE, CODES.get(number, UNKNOWN), body.get("message"), number)
    if succeeded(answer):
        return other_2xx(SERVICE, answer)
    if answer.status == 429:
        wait = _reset_after(answer.headers) or seconds(body.get("retry_after"))
        found = not_2xx(SERVICE, answer, body.get("message"))
        return AnswerVerdict(found.verdict, found.service_message, wait, overloaded=True)
    if answer.status < 500 and answer.status != 410 and (code := CODES.get(number or 0)):
        return by_code(SERVICE, code, body.get("message"), number)
    return not_2xx(SERVICE, answer, body.get("message"))


def _reset_after(headers: Mapping[str, str]) -> timedelta | None:
    """Returns the wait from the header, which is more precise than the body's."""
    found = (value for name, value in headers.items() if name.lower() == "x-ratelimit-reset-after")
    return seconds(next(found, None))


def bot(url: CallbackUrl) -> str:
    match = WEBHOOK.fullmatch(path(url))
    return f"{match['id']}/{match['token']}" if match else path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not WEBHOOK.fullmatch(path(url)):
        raise invalid_url(
            "is not a webhook's URL",
            "https://discord.com/api/webhooks/<id>/<token>, without /slack or /github at the end",
        )


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, *HOSTS) and "/webhooks/" in path(url)


FORMAT = Format(
    "discord",
    render,
    judge,
    render_fallback,
    limit="6,000 characters in all",
    rate_limit=RateLimit(5, timedelta(seconds=2)),
    bot=bot,
    check=check,
    recognises=recognises,
)
