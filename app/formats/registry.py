"""The list of built-in formats."""

import re
from functools import lru_cache

from app.domain.callback_url import CallbackUrl
from app.domain.errors import InvalidField
from app.formats import (
    cloudevents,
    dingtalk,
    discord,
    feishu,
    googlechat,
    mattermost,
    rocketchat,
    slack,
    standard,
    teams,
    telegram,
    wecom,
)
from app.formats.format import Format
from app.formats.urls import path, query_parameter

FORMATS: tuple[Format, ...] = (
    standard.FORMAT,
    cloudevents.FORMAT,
    slack.FORMAT,
    teams.FORMAT,
    discord.FORMAT,
    mattermost.FORMAT,
    rocketchat.FORMAT,
    googlechat.FORMAT,
    telegram.FORMAT,
    feishu.FORMAT,
    dingtalk.FORMAT,
    wecom.FORMAT,
)
# Power Automate and Logic Apps; the second kind runs in an app service of its own.
FLOW = re.compile(r"/workflows/|/triggers/[^/]+/invoke\b", re.IGNORECASE)
BY_NAME = {each.name: each for each in FORMATS}


def find(name: str) -> Format | None:
    return BY_NAME.get(name)


@lru_cache(maxsize=1024)
def for_url(url: CallbackUrl) -> Format:
    """Returns the format that `auto` selects; `standard` if no service recognises the URL.

    Raises InvalidField for a flow of Microsoft at an unknown host: it accepts any JSON, and shows nothing of an event.
    """
    found = next((each for each in FORMATS if each.recognises(url)), None)
    if found is None and FLOW.search(path(url)) and query_parameter(url.raw, "sig"):
        raise InvalidField(
            "/format",
            "is needed: the URL looks like a flow's, at an unknown host",
            'choose "teams" for messages in Teams, or "standard" if the flow reads the event itself',
        )
    return found or standard.FORMAT
