"""`teams`: Microsoft Teams' Workflows, "when a webhook request is received"."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.foreign_json import read_object
from app.domain.verdict import Verdict
from app.formats.fallback import fit_text
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, escape, format_line
from app.formats.message import Message, MessageLine, Severity
from app.formats.urls import in_domain, invalid_url, path
from app.formats.verdicts import describe, nested_object, not_2xx, other_2xx, succeeded

SERVICE = "Teams"
# In the public cloud, in the clouds of the US government and in China.
HOSTS = (
    *("logic.azure.com", "logic.azure.us", "logic.azure.cn", "flow.microsoft.com"),
    *("api.powerplatform.com", "powerplatform.us", "api.appsplatform.us", "powerplatform.partner.microsoftonline.cn"),
)
# Office 365 connectors: posted into channels until Microsoft retired them.
RETIRED = ("webhook.office.com", "outlook.office.com", "outlook.office365.com")
MAX_BYTES = 20_000  # Teams allows 28,672 after expanding the message
COLOURS = {
    Severity.GOOD: "Good",
    Severity.BAD: "Attention",
    Severity.LOST: "Default",
    Severity.LATE: "Warning",
    Severity.NOTE: "Accent",
}
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
ACCEPTED = "Teams: accepted by the flow; if the message does not appear, the flow's run history says why"
# Connectors said so in a 200, and relays still do.
FAILED_IN_TEAMS = re.compile(rb"endpoint returned HTTP error ([45][0-9]{2})")
MAX_TEXT_BYTES = 1_000
ADVICE = {
    "WorkflowTriggerIsNotEnabled": "the flow is switched off: switch it on",
    "DirectApiAuthorizationRequired": "the URL lacks its signature: copy all of it",
    "InvalidSharedAccessSignature": "the URL's signature is wrong: copy all of it",
    "WorkflowNotFound": "the flow no longer exists: create a new one",
}


def _text(text: str) -> str:
    """Also defuses `{{DATE(…)}}`, which cards expand."""
    return defuse_mentions(escape(text)).replace("{{", "{ {")


def _line(line: MessageLine) -> str:
    return format_line(line, _text)


def _block(text: str, **more: str) -> Body:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}


def _card(message: Message) -> Body:
    body = [_block(_text(message.title), size="Medium", weight="Bolder", color=COLOURS[message.severity])]
    if message.why:
        body.append(_block(message.why))
    if message.facts:
        facts = [{"title": _text(fact.label), "value": _text(fact.value)} for fact in message.facts]
        body.append({"type": "FactSet", "facts": facts})
    body += [_block(_line(line), spacing="Small") for line in message.lines]
    if message.more:
        body.append(_block(message.more, spacing="Small"))
    card: Body = {"$schema": SCHEMA, "type": "AdaptiveCard", "version": "1.4", "body": body}
    if message.link:
        url, label = message.link
        card["actions"] = [{"type": "Action.OpenUrl", "title": label, "url": url}]
    return card | {"fallbackText": message.title, "msteams": {"width": "Full"}}


def _body(message: Message) -> Body:
    return _message(_card(message))


def _message(card: Body) -> Body:
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}]}


def _text_body(text: str) -> Body:
    lines = [_block(line) for line in text.splitlines()]
    return _message({"$schema": SCHEMA, "type": "AdaptiveCard", "version": "1.0", "body": lines})


def render(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    """Keeps the URL byte for byte: its `sig` signs the rest of it as spelt."""
    return Outgoing(options.url, fit(events, options, _body, within(MAX_BYTES)))


def render_fallback(events: Sequence[Event], options: MessageOptions, _: datetime) -> Outgoing:
    return Outgoing(options.url, fit_text(events, options, _text_body, _text))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    error = nested_object(read_object(answer.body), "error")
    advice = ADVICE.get(str(error.get("code")))
    if not succeeded(answer):
        return not_2xx(SERVICE, answer, error.get("message"), advice)
    if failed := FAILED_IN_TEAMS.search(answer.body[:MAX_TEXT_BYTES]):
        return not_2xx(SERVICE, replace(answer, status=int(failed[1])))
    if advice:
        return AnswerVerdict(Verdict.REFUSED, describe(SERVICE, error.get("message"), error.get("code"), advice))
    found = other_2xx(SERVICE, answer)
    return replace(found, service_message=ACCEPTED) if found.verdict is Verdict.DELIVERED else found


def check(url: CallbackUrl, _: str | None) -> None:
    if _is_retired(url):
        raise invalid_url(
            "is an Office 365 connector, which Microsoft has retired",
            'in Teams, under Workflows, create "Post to a channel when a webhook request is received" and use its URL',
        )
    if recognises(url) and "sig=" not in url.raw:
        raise invalid_url("lacks its signature, `sig=…`", "copy all of the URL that the workflow shows")


def recognises(url: CallbackUrl) -> bool:
    return in_domain(url.host, *HOSTS) or _is_retired(url)


def _is_retired(url: CallbackUrl) -> bool:
    return in_domain(url.host, RETIRED[0]) or (url.host in RETIRED and re.match("/webhook", path(url)) is not None)


FORMAT = Format(
    "teams",
    render,
    judge,
    render_fallback,
    limit="20,000 bytes, because Teams expands it",
    rate_limit=RateLimit(4, timedelta(seconds=1)),
    bot=path,
    check=check,
    recognises=recognises,
)
