"""Attachments as Slack once had them: what Mattermost and Rocket.Chat have taken over."""

from collections.abc import Callable

from app.formats import markdown
from app.formats.shrink import Body
from app.formats.words import HEX, Line, Message

NARROW = 40  # characters: two such facts stand side by side


def attachment(message: Message, escaped: Callable[[str], str]) -> Body:
    """escaped: makes other people's text harmless."""
    lines = [_line(line, escaped) for line in message.lines]
    text = [*filter(None, [message.why]), *lines, *filter(None, [message.more])]
    body: Body = {"fallback": escaped(message.title), "color": HEX[message.tone], "title": escaped(message.title)}
    if message.link:
        body["title_link"], _ = message.link
    if text:
        body["text"] = "\n".join(text)
    if message.facts:
        body["fields"] = [
            {"title": escaped(fact.label), "value": escaped(fact.value), "short": len(fact.value) <= NARROW}
            for fact in message.facts
        ]
    return body


def _line(line: Line, escaped: Callable[[str], str]) -> str:
    name = markdown.link(line.link, escaped(line.name)) if line.link else escaped(line.name)
    return f"{line.sign} {name}" + (f" · {escaped(line.about)}" if line.about else "")
