"""The simplest form of messages, for services that refuse the full one."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.domain.event import Event
from app.formats.format import Format, Language
from app.formats.registry import BY_NAME, FORMATS
from tests.support.message_samples import EVERY, FAILED, FINISHED, LINK, NOW, SUCCEEDED, options

TEXT = (
    "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82\n"
    "Error: CPS.0003: Internal error.\n"
    "Took: 2 min 6 s\n"
    "Job: 6837531fd3f54550927b930180a706bf\n"
    "Request: 2676a3b4f7df49c297c6775989806d32\n"
    "Project: default"
)
CARD = "application/vnd.microsoft.card.adaptive"
BODIES: dict[str, Any] = {
    "slack": {"text": TEXT},
    "discord": {"content": TEXT, "allowed_mentions": {"parse": []}},
    "mattermost": {"text": TEXT},
    "rocketchat": {"text": TEXT},
    "googlechat": {"text": TEXT},
    "telegram": {"chat_id": "-5", "text": TEXT, "link_preview_options": {"is_disabled": True}},
    "feishu": {"msg_type": "text", "content": {"text": TEXT}},
    "dingtalk": {"msgtype": "text", "text": {"content": TEXT}},
    "wecom": {"msgtype": "text", "text": {"content": TEXT}},
    "teams": {
        "type": "message",
        "attachments": [
            {
                "contentType": CARD,
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.0",
                    "body": [{"type": "TextBlock", "text": line, "wrap": True} for line in TEXT.splitlines()],
                },
            }
        ],
    },
}
CHAT = [form for form in FORMATS if not form.machine]


def simplest(form: Format, events: Sequence[Event], **more: Any) -> bytes:
    given = options("https://bot.example/bot1:a?chat_id=-5", link=LINK, **more)
    outgoing = form.fallback(events, given, NOW)
    assert outgoing is not None
    assert outgoing.headers == form.render(events, given, NOW).headers
    return outgoing.body


@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
def test_it_is_a_short_text_without_link_markup_and_metadata(form: Format) -> None:
    assert json.loads(simplest(form, [FAILED])) == BODIES[form.name]


@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("event", EVERY, ids=lambda event: str(event.type))
def test_every_event_has_one_that_fits_everywhere(form: Format, language: Language, event: Event) -> None:
    body = simplest(form, [event], language=language)
    assert len(body) < 2_048
    assert b"console.example" not in body


@pytest.mark.parametrize("form", [form for form in CHAT if form.digest > 1], ids=lambda form: form.name)
def test_a_message_about_several_events_still_names_each(form: Format) -> None:
    body = simplest(form, [FAILED, SUCCEEDED, FINISHED]).decode()
    assert all(name in body for name in ("9b28fbe50ded4060b8149a47e55dba82", "server-1", "jobs have ended"))


def test_it_is_signed_like_the_full_message() -> None:
    for name, sign in (("feishu", '"sign":'), ("dingtalk", "&sign=")):
        outgoing = BY_NAME[name].fallback([FAILED], options("https://bot.example/?a=b", secret="SEC1"), NOW)
        assert outgoing is not None
        assert sign in outgoing.url + outgoing.body.decode()
