"""Attachments as Slack once had them: what Mattermost and Rocket.Chat have taken over."""

from collections.abc import Callable

from app.formats.fit import Body
from app.formats.markdown import one_of_several
from app.formats.message import HEX, Message

NARROW = 40  # characters: two such facts stand side by side


def attachment(message: Message, escaped: Callable[[str], str]) -> Body:
    """escaped: makes other people's text harmless."""
    lines = [one_of_several(line, escaped) for line in message.lines]
    text = [*filter(None, [message.why]), *lines, *filter(None, [message.more])]
    body: Body = {"fallback": escaped(message.title), "color": HEX[message.severity], "title": escaped(message.title)}
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
