"""`discord`: Discord's webhooks."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, escaped, one_of_several
from app.formats.message import HEX, Message, MessageLine
from app.formats.sanitize import clip, units
from app.formats.urls import below, path, refused
from app.formats.verdicts import Code, by_code, integer, no_success, not_2xx, said, seconds, succeeded

SERVICE = "Discord"
HOSTS = ("discord.com", "discordapp.com")
WEBHOOK = re.compile(r"/api(?:/v[0-9]+)?/webhooks/(?P<id>[0-9]+)/(?P<token>[A-Za-z0-9._-]+)/?")
TITLE, DESCRIPTION, NAME, VALUE, FIELDS, TOTAL = 256, 4_096, 256, 1_024, 25, 6_000

CODES = {
    10003: Code(Verdict.REFUSED, "the channel is gone"),
    10015: Code(Verdict.REFUSED, "the webhook was removed: make a new one"),
    20029: Code(Verdict.RETRY, "asked too often", overloaded=True),
    50027: Code(Verdict.REFUSED, "the URL is wrong: copy all of it"),
    50035: Code(Verdict.REFUSED, "Discord does not take the message"),
}


def _text(text: str) -> str:
    return defuse_mentions(escaped(text))


def _title(text: str) -> str:
    """Cut before it is made harmless, as afterwards what makes it so could be cut off."""
    whole = _text(text)
    return whole if units(whole) <= TITLE else _text(clip(text, TITLE // 3))


def _line(line: MessageLine) -> str:
    return one_of_several(line, _text)


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
        embed["url"], _ = message.link  # of the title
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


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


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    """By version 10 of the API, whatever the URL says: without a version it tells waits in milliseconds."""
    parts = urlsplit(wishes.url)
    path = re.sub(r"\A/api(?:/v[0-9]+)?/webhooks/", "/api/v10/webhooks/", parts.path)
    return Outgoing(parts._replace(path=path).geturl(), fit(events, wishes, _body, _fits))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    body = said(answer)
    # With `?wait=true` in the URL, Discord shows the message that it has made.
    if answer.status == 204 or (answer.status == 200 and "id" in body):
        return AnswerVerdict(Verdict.DELIVERED)
    if succeeded(answer):
        return no_success(SERVICE, answer)
    if answer.status == 429:
        wait = _reset_after(answer.headers) or seconds(body.get("retry_after"))
        crowded = not_2xx(SERVICE, answer, body.get("message"))
        return AnswerVerdict(crowded.verdict, crowded.service_message, wait, overloaded=True)
    number = integer(body.get("code"))
    if answer.status < 500 and answer.status != 410 and (code := CODES.get(number or 0)):
        return by_code(SERVICE, code, body.get("message"), number)
    return not_2xx(SERVICE, answer, body.get("message"))


def _reset_after(headers: Mapping[str, str]) -> timedelta | None:
    """More exact than what the body says."""
    found = (value for name, value in headers.items() if name.lower() == "x-ratelimit-reset-after")
    return seconds(next(found, None))


def bot(url: CallbackUrl) -> str:
    match = WEBHOOK.fullmatch(path(url))
    return f"{match['id']}/{match['token']}" if match else path(url)


def check(url: CallbackUrl, _: str | None) -> None:
    if not WEBHOOK.fullmatch(path(url)):
        raise refused(
            "not a webhook of Discord's",
            "https://discord.com/api/webhooks/<id>/<token>, without /slack or /github at its end",
        )


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, *HOSTS) and "/webhooks/" in path(url)


FORMAT = Format(
    "discord",
    render,
    judge,
    limit="6,000 characters in all",
    pace=RateLimit(5, timedelta(seconds=2)),
    bot=bot,
    check=check,
    known_by=known_by,
)
