"""Slack's legacy attachments, which Mattermost and Rocket.Chat have adopted."""

from collections.abc import Callable

from app.formats.fit import Body
from app.formats.markdown import format_line
from app.formats.message import HEX, Message

SHORT = 40  # characters: two such facts fit side by side


def attachment(message: Message, escape: Callable[[str], str]) -> Body:
    lines = [format_line(line, escape) for line in message.lines]
    text = [*filter(None, [message.why]), *lines, *filter(None, [message.more])]
    body: Body = {"fallback": escape(message.title), "color": HEX[message.severity], "title": escape(message.title)}
    if message.link:
        body["title_link"], _ = message.link
    if text:
        body["text"] = "\n".join(text)
    if message.facts:
        body["fields"] = [
            {"title": escape(fact.label), "value": escape(fact.value), "short": len(fact.value) <= SHORT}
            for fact in message.facts
        ]
    return body
