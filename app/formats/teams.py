"""`teams`: Microsoft Teams' Workflows, "when a webhook request is received"."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.callback_url import CallbackUrl
from app.domain.event import Event
from app.domain.verdict import Verdict
from app.formats.fit import Body, fit, within
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, RateLimit, ServiceAnswer
from app.formats.markdown import defuse_mentions, escaped, one_of_several
from app.formats.message import Message, MessageLine, Severity
from app.formats.urls import below, path, refused
from app.formats.verdicts import is_html, no_success, not_2xx, part, said, succeeded

SERVICE = "Teams"
HOSTS = ("logic.azure.com", "environment.api.powerplatform.com")
# They posted into channels until Microsoft switched them off.
RETIRED = ("webhook.office.com", "outlook.office.com", "outlook.office365.com")
MOST_BYTES = 20_000  # of 28,672 once Teams has expanded it
COLOURS = {
    Severity.GOOD: "Good",
    Severity.BAD: "Attention",
    Severity.LOST: "Default",
    Severity.LATE: "Warning",
    Severity.NOTE: "Accent",
}
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
ACCEPTED = "Teams: accepted by the flow, which shows it later or says in its run history why not"
ADVICE = {
    "WorkflowTriggerIsNotEnabled": "the flow is switched off: switch it on",
    "DirectApiAuthorizationRequired": "the URL lacks its signature: copy all of it",
    "InvalidSharedAccessSignature": "the URL's signature is wrong: copy all of it",
    "WorkflowNotFound": "the flow is gone: make a new one",
}


def _text(text: str) -> str:
    """Cards also fill in `{{DATE(…)}}`."""
    return defuse_mentions(escaped(text)).replace("{{", "{ {")


def _line(line: MessageLine) -> str:
    return one_of_several(line, _text)


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
    content_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": content_type, "contentUrl": None, "content": _card(message)}
    return {"type": "message", "attachments": [attachment]}


def render(events: Sequence[Event], wishes: MessageOptions, _: datetime) -> Outgoing:
    """To the URL byte for byte: its `sig` is over the rest, in just this spelling."""
    return Outgoing(wishes.url, fit(events, wishes, _body, within(MOST_BYTES)))


def judge(answer: ServiceAnswer) -> AnswerVerdict:
    if not succeeded(answer):
        error = part(said(answer), "error")
        return not_2xx(SERVICE, answer, error.get("message"), ADVICE.get(str(error.get("code"))))
    if answer.status in (200, 202) and not is_html(answer):
        return AnswerVerdict(Verdict.DELIVERED, ACCEPTED)
    return no_success(SERVICE, answer)


def check(url: CallbackUrl, _: str | None) -> None:
    if _is_retired(url):
        raise refused(
            "Microsoft has retired the connectors of Office 365, this URL is one",
            'in Teams, under Workflows: "Post to a channel when a webhook request is received"; take the URL it shows',
        )
    if known_by(url) and "sig=" not in url.raw:
        raise refused("lacks its signature, `sig=…`", "copy all of the URL that the workflow shows")


def known_by(url: CallbackUrl) -> bool:
    return below(url.host, *HOSTS) or _is_retired(url)


def _is_retired(url: CallbackUrl) -> bool:
    return below(url.host, RETIRED[0]) or (url.host in RETIRED and re.match("/webhook", path(url)) is not None)


FORMAT = Format(
    "teams",
    render,
    judge,
    limit="20,000 bytes, for Teams adds to it",
    pace=RateLimit(4, timedelta(seconds=1)),
    bot=path,
    check=check,
    known_by=known_by,
)
