"""`slack`: Slack's incoming webhooks."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.message import HEX, Fact, Message, MessageLine
from app.formats.sanitize import units
from app.formats.urls import in_domain, invalid_url, path
from app.formats.verdicts import OVERLOADED, Code, by_code, not_2xx, other_2xx, rejected, succeeded

SERVICE = "Slack"
HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
# A header may have 150 characters; a title is always shorter.
MAX_BYTES, SECTION, FIELD, FIELDS = 13_000, 3_000, 2_000, 10
LINES = 8  # per section
# Slack has no escape for `*`, `_` and `~`: these only look like them. Ids go into code spans.
LOOKALIKES = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ˋ"})

REJECTED = rejected(SERVICE)
CODES = {
    "invalid_payload": REJECTED,
    "invalid_blocks": REJECTED,
    "invalid_blocks_format": REJECTED,
    "invalid_attachments": REJECTED,
    "missing_text_or_fallback_or_attachments": REJECTED,
    "msg_too_long": REJECTED,
    "msg_blocks_too_long": REJECTED,
    "no_text": REJECTED,
    "rate_limited": OVERLOADED,
    "invalid_token": Code(Verdict.REFUSED, "the URL is wrong or was revoked: create a new webhook"),
    "no_service": Code(Verdict.REFUSED, "the webhook was removed: create a new one"),
    "no_service_id": Code(Verdict.REFUSED, "the URL is not complete"),
    "no_active_hooks": Code(Verdict.REFUSED, "the webhook was switched off"),
    "no_team": Code(Verdict.REFUSED, "the workspace no longer exists"),
    "team_disabled": Code(Verdict.REFUSED, "the workspace no longer exists"),
    "user_not_found": Code(Verdict.REFUSED, "the webhook's creator no longer exists: create a new webhook"),
    "channel_not_found": Code(Verdict.REFUSED, "the channel no longer exists"),
    "channel_is_archived": Code(Verdict.REFUSED, "the channel was archived"),
    "action_prohibited": Code(Verdict.REFUSED, "the workspace's admins do not allow it"),
    "posting_to_general_channel_denied": Code(Verdict.REFUSED, "the workspace's admins do not allow it"),
    "too_many_attachments": REJECTED,
}


def escape(text: str) -> str:
    """Escapes mentions, channels and links: Slack writes all of these as `<…>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(text: str) -> str:
    return escape(text.translate(LOOKALIKES))


def _code(text: str) -> str:
    """Returns a code span; only backticks are replaced."""
    return f"`{escape(text.replace('`', 'ˋ'))}`"


def _link(url: str, text: str) -> str:
    return f"<{escape(url)}|{_text(text)}>"


def _line(line: MessageLine) -> str:
    name = _link(line.link, line.name) if line.link else _code(line.name)
    return f"{line.emoji} {name}" + (f" {_code(line.about)}" if line.about else "")


def _mrkdwn(text: str) -> Body:
    # verbatim: Slack does not turn names and URLs into links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _field(fact: Fact) -> Body:
    return _mrkdwn(f"*{_text(fact.label)}*\n{_code(fact.value)}")


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
        # A text, not a button: people who click the button of an incoming webhook are shown an error beside it.
        blocks.append({"type": "section", "text": _mrkdwn(_link(url, label))})
    return blocks


def _body(message: Message) -> Body:
    """With blocks, `text` is shown only in notifications. Only attachments have a colour bar."""
    header = {"type": "header", "text": {"type": "plain_text", "text": message.title, "emoji": False}}
    body: Body = {"text": escape(message.title), "blocks": [header]}
    if blocks := _blocks(message):
        body["attachments"] = [{"color": HEX[message.severity], "blocks": blocks}]
    return body


def _fits(body: Body, encoded: bytes) -> bool:
    blocks = [block for attachment in body.get("attachments", ()) for block in attachment["blocks"]]
    sections = [block["text"] for block in blocks if "text" in block]
    fields = [field for block in blocks for field in block.get("fields", ())]
    return (
        len(encoded) <= MAX_BYTES
        and all(units(section["text"]) <= SECTION for section in sections)
        and all(units(field["text"]) <= FIELD for field in fields)
    )


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit(events, options, _body, _fits))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, lambda text: {"text": text}, _text))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    text = answer.body[:100].decode("utf-8-sig", "replace").strip().strip('"')
    if succeeded(answer) and text.lower() == "ok":
        return AnswerVerdict(Verdict.DELIVERED)
    text_decides = answer.status < 500 and answer.status not in {410, 429}
    if text_decides and (code := CODES.get(text)):
        return by_code(SERVICE, code, text, answer.status)
    return other_2xx(SERVICE, answer) if succeeded(answer) else not_2xx(SERVICE, answer)


def check(url: CallbackUrl, _: str | None) -> None:
    if recognises(url) and not path(url).startswith("/services/"):
        raise invalid_url(
            "is not an incoming webhook's URL",
            "https://hooks.slack.com/services/…; workflow webhooks (/workflows/, /triggers/) reject these messages",
        )


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, *HOSTS)


FORMAT = Format(
    "slack",
    render,
    judge,
    render_fallback,
    limit="13,000 bytes",
    digest=20,
    rate_limit=RateLimit(1, timedelta(seconds=1)),
    bot=path,
    check=check,
    recognises=recognises,
)
