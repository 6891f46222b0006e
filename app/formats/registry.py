"""The list of built-in formats."""

from functools import lru_cache

from app.domain.callback_url import CallbackUrl
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
BY_NAME = {each.name: each for each in FORMATS}


def find(name: str) -> Format | None:
    return BY_NAME.get(name)


@lru_cache(maxsize=1024)
def for_url(url: CallbackUrl) -> Format:
    """Returns the format that `auto` selects; `standard` if no service recognises the URL."""
    return next((each for each in FORMATS if each.recognises(url)), standard.FORMAT)
