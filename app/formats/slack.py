"""`slack`: Slack's incoming webhooks."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.sanitize import units
from app.formats.urls import below, path, refused
from app.formats.verdicts import Code, by_code, no_success, not_2xx, succeeded

SERVICE = "Slack"
HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
# A header takes 150 characters; a title never has so many.
MOST_BYTES, SECTION, FIELD, FIELDS = 13_000, 3_000, 2_000, 10
LINES = 8  # in a section
# Slack has no sign that takes the meaning from `*`, `_` and `~`; these only look like them. Ids go into code spans.
LOOKALIKES = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ˋ"})

CODES = {
    "invalid_payload": Code(Verdict.REFUSED, "Slack does not take the message"),
    "invalid_blocks": Code(Verdict.REFUSED, "Slack does not take the message"),
    "no_text": Code(Verdict.REFUSED, "Slack does not take the message"),
    "invalid_token": Code(Verdict.REFUSED, "the URL is wrong or was withdrawn: make a new webhook"),
    "no_service": Code(Verdict.REFUSED, "the webhook was removed: make a new one"),
    "no_service_id": Code(Verdict.REFUSED, "the URL is not complete"),
    "no_active_hooks": Code(Verdict.REFUSED, "the webhook was switched off"),
    "no_team": Code(Verdict.REFUSED, "the workspace is gone"),
    "team_disabled": Code(Verdict.REFUSED, "the workspace is gone"),
    "user_not_found": Code(Verdict.REFUSED, "who made the webhook is gone: make a new one"),
    "channel_not_found": Code(Verdict.REFUSED, "the channel is gone"),
    "channel_is_archived": Code(Verdict.REFUSED, "the channel was archived"),
    "action_prohibited": Code(Verdict.REFUSED, "the workspace's admins do not allow it"),
    "posting_to_general_channel_denied": Code(Verdict.REFUSED, "the workspace's admins do not allow it"),
    "too_many_attachments": Code(Verdict.REFUSED, "Slack does not take the message"),
}


def escaped(text: str) -> str:
    """Neither mention, channel nor link is left in it: Slack's all stand in `<…>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _loose(text: str) -> str:
    return escaped(text.translate(LOOKALIKES))


def _code(text: str) -> str:
    """As it is, but for its own backticks."""
    return f"`{escaped(text.replace('`', 'ˋ'))}`"


def _line(line: MessageLine) -> str:
    name = f"<{escaped(line.link)}|{_loose(line.name)}>" if line.link else _code(line.name)
    return f"{line.sign} {name}" + (f" {_code(line.about)}" if line.about else "")


def _mrkdwn(text: str) -> Body:
    # verbatim: names and addresses in it stay text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _field(fact: Fact) -> Body:
    return _mrkdwn(f"*{_loose(fact.label)}*\n{_code(fact.value)}")


def _blocks(message: Message) -> list[Body]:
    blocks: list[Body] = []
    if message.why:
        blocks.append({"type": "section", "text": _mrkdwn(message.why)})
    for first in range(0, len(message.facts), FIELDS):
        fields = [_field(fact) for fact in message.facts[first : first + FIELDS]]
        blocks.append({"type": "section", "fields": fields})
    lines = [*map(_line, message.lines), *filter(None, [message.more])]
    parts = (lines[first : first + LINES] for first in range(0, len(lines), LINES))
    blocks += [{"type": "section", "text": _mrkdwn("\n".join(part))} for part in parts]
    if message.link:
        url, label = message.link
        button = {"type": "button", "text": {"type": "plain_text", "text": label}, "url": url}
        blocks.append({"type": "actions", "elements": [button]})
    return blocks


def _body(message: Message) -> Body:
    """Where there are blocks, `text` is what notifications show; the bar of colour exists beside attachments only."""
    header = {"type": "header", "text": {"type": "plain_text", "text": message.title, "emoji": False}}
    body: Body = {"text": escaped(message.title), "blocks": [header]}
    if blocks := _blocks(message):
        body["attachments"] = [{"color": HEX[message.severity], "blocks": blocks}]
    return body


def _fits(body: Body, written: bytes) -> bool:
    blocks = [block for attachment in body.get("attachments", ()) for block in attachment["blocks"]]
    sections = [block["text"] for block in blocks if "text" in block]
    fields = [field for block in blocks for field in block.get("fields", ())]
    return (
        len(written) <= MOST_BYTES
        and all(units(section["text"]) <= SECTION for section in sections)
        and all(units(field["text"]) <= FIELD for field in fields)
    )


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(wishes.url, fit(events, wishes, _body, _fits))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    word = answer.body[:100].decode("utf-8", "replace").strip()
    if answer.status == 200 and word == "ok":
        return AnswerVerdict(Verdict.DELIVERED)
    by_its_word = answer.status < 500 and answer.status not in {410, 429}
    if by_its_word and (code := CODES.get(word)):
        return by_code(SERVICE, code, word, answer.status)
    return no_success(SERVICE, answer) if succeeded(answer) else not_2xx(SERVICE, answer)


def check(url: CallbackUrl, _: str | None) -> None:
    if known_by(url) and not path(url).startswith("/services/"):
        raise refused(
            "not an incoming webhook of Slack's",
            "https://hooks.slack.com/services/…; those of workflows (/workflows/, /triggers/) take no such messages",
        )


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, *HOSTS)


FORMAT = Format(
    "slack",
    render,
    judge,
    limit="13,000 bytes",
    digest=20,
    pace=RateLimit(1, timedelta(seconds=1)),
    bot=path,
    check=check,
    known_by=known_by,
)
