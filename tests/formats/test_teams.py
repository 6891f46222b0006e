"""The `teams` format: messages sent to Teams, and verdicts on its answers."""

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.format import Language
from app.formats.registry import for_url
from app.formats.teams import ACCEPTED, FORMAT
from tests.support.message_judges import complaints
from tests.support.message_samples import EVERY, FAILED, FINISHED, LINK, NOW, options, rendered, url

URL = "https://prod-1.westeurope.logic.azure.com:443/workflows/w/triggers/manual/paths/invoke?sig=s"

FAILED_JOB_IN_ENGLISH = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {
                        "type": "TextBlock",
                        "text": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
                        "wrap": True,
                        "size": "Medium",
                        "weight": "Bolder",
                        "color": "Attention",
                    },
                    {
                        "type": "FactSet",
                        "facts": [
                            {
                                "title": "Error",
                                "value": "CPS.0003: Internal error.",
                            },
                            {
                                "title": "Took",
                                "value": "2 min 6 s",
                            },
                            {
                                "title": "Job",
                                "value": "6837531fd3f54550927b930180a706bf",
                            },
                            {
                                "title": "Request",
                                "value": "2676a3b4f7df49c297c6775989806d32",
                            },
                            {
                                "title": "Project",
                                "value": "default",
                            },
                            {
                                "title": "operation",
                                "value": "restart",
                            },
                        ],
                    },
                ],
                "actions": [
                    {
                        "type": "Action.OpenUrl",
                        "title": "Open",
                        "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
                    },
                ],
                "fallbackText": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
                "msteams": {
                    "width": "Full",
                },
            },
        },
    ],
}

JOBS_IN_CHINESE = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {
                        "type": "TextBlock",
                        "text": "❌ 2 个任务已结束：1 个成功，1 个失败",
                        "wrap": True,
                        "size": "Medium",
                        "weight": "Bolder",
                        "color": "Attention",
                    },
                    {
                        "type": "FactSet",
                        "facts": [
                            {
                                "title": "项目",
                                "value": "default",
                            },
                            {
                                "title": "登记",
                                "value": "reg\\_01kdyqfbhgzzzzzzzzzzzzzzzz",
                            },
                        ],
                    },
                    {
                        "type": "TextBlock",
                        "text": (
                            "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
                            "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf"
                        ),
                        "wrap": True,
                        "spacing": "Small",
                    },
                    {
                        "type": "TextBlock",
                        "text": "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23",
                        "wrap": True,
                        "spacing": "Small",
                    },
                ],
                "fallbackText": "❌ 2 个任务已结束：1 个成功，1 个失败",
                "msteams": {
                    "width": "Full",
                },
            },
        },
    ],
}

ANSWERS = [
    (202, "", Verdict.DELIVERED, ACCEPTED),
    (200, "", Verdict.DELIVERED, ACCEPTED),
    (200, "<html>", Verdict.RETRY, "Teams: 200 with an HTML page, probably from a proxy"),
    (204, "", Verdict.DELIVERED, ACCEPTED),
    (
        429,
        {"error": {"code": "x", "message": "Slow down"}},
        Verdict.RETRY,
        "Teams: Slow down (429): rate limit exceeded",
    ),
    (
        400,
        {"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "Trigger is off"}},
        Verdict.REFUSED,
        "Teams: Trigger is off (400): the flow is switched off: switch it on",
    ),
    (
        401,
        {"error": {"code": "DirectApiAuthorizationRequired", "message": "No signature"}},
        Verdict.REFUSED,
        "Teams: No signature (401): the URL lacks its signature: copy all of it",
    ),
    (404, "", Verdict.REFUSED, "Teams: answered 404"),
    (410, "", Verdict.GONE, "Teams: answered 410"),
    (502, "", Verdict.RETRY, "Teams: answered 502"),
]


@pytest.mark.parametrize(
    "retired",
    [
        "https://acme.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4",
        "https://webhook.office.com/webhookb2/1",
        "https://outlook.office.com/webhook/1@2/IncomingWebhook/3/4",
        "https://outlook.office365.com/webhook/1",
    ],
)
def test_the_retired_connectors_are_refused_with_the_way_out(retired: str) -> None:
    assert for_url(url(retired)) is FORMAT
    with pytest.raises(InvalidField) as refused:
        FORMAT.check(url(retired), None)
    assert "Workflows" in (refused.value.hint or "")


def test_a_url_without_its_signature_is_refused() -> None:
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://prod-1.westeurope.logic.azure.com/workflows/w/triggers/manual/paths/invoke"), None)
    FORMAT.check(url("https://own.example/flow"), None)


def test_the_url_stays_as_it_is_byte_for_byte() -> None:
    odd = "https://x.logic.azure.com/workflows/w?sp=%2Ftriggers%2fmanual%2Frun&sv=1.0&sig=a%2Bb-_~"
    assert FORMAT.render([FAILED], options(odd), NOW).url == odd


def test_microsoft_s_own_library_takes_every_card() -> None:
    many = [FAILED, FINISHED]
    bodies = [
        rendered(FORMAT, events, options(link=LINK, language=language))
        for language in Language
        for events in (*EVERY, many)
    ]
    assert complaints(cards=[body["attachments"][0]["content"] for body in bodies]) == []


def test_microsoft_s_own_library_can_find_fault() -> None:
    card = rendered(FORMAT, FAILED, options())["attachments"][0]["content"]
    card["body"][0]["color"] = "Purple"
    assert len(complaints(cards=[card])) == 1


def test_jobs_have_links_of_their_own() -> None:
    body = rendered(FORMAT, FINISHED, options(link=LINK))
    assert "](https://console.example/jobs/6837531fd3f54550927b930180a706bf)" in str(body)
