"""The `googlechat` format: messages sent to Google Chat, and verdicts on its answers."""

from datetime import timedelta

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.googlechat import FORMAT
from tests.support.message_samples import FINISHED, LINK, judged, options, rendered, url

URL = "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t"

FAILED_JOB_IN_ENGLISH = {
    "cardsV2": [
        {
            "cardId": "cph",
            "card": {
                "sections": [
                    {
                        "widgets": [
                            {
                                "textParagraph": {
                                    "text": (
                                        '<b><font color="#E01E5A">'
                                        "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82</font></b>"
                                    ),
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "Error",
                                    "text": "CPS.0003: Internal error.",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "Took",
                                    "text": "2 min 6 s",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "Job",
                                    "text": "6837531fd3f54550927b930180a706bf",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "Request",
                                    "text": "2676a3b4f7df49c297c6775989806d32",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "Project",
                                    "text": "default",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "operation",
                                    "text": "restart",
                                    "wrapText": True,
                                },
                            },
                            {
                                "buttonList": {
                                    "buttons": [
                                        {
                                            "text": "Open",
                                            "onClick": {
                                                "openLink": {
                                                    "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
                                                },
                                            },
                                        },
                                    ],
                                },
                            },
                        ],
                    },
                ],
            },
        },
    ],
    "fallbackText": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
}

JOBS_IN_CHINESE = {
    "cardsV2": [
        {
            "cardId": "cph",
            "card": {
                "sections": [
                    {
                        "widgets": [
                            {
                                "textParagraph": {
                                    "text": '<b><font color="#E01E5A">❌ 2 个任务已结束：1 个成功，1 个失败</font></b>',
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "项目",
                                    "text": "default",
                                    "wrapText": True,
                                },
                            },
                            {
                                "decoratedText": {
                                    "topLabel": "登记",
                                    "text": "reg_01kdyqfbhgzzzzzzzzzzzzzzzz",
                                    "wrapText": True,
                                },
                            },
                            {
                                "textParagraph": {
                                    "text": (
                                        "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
                                        "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf<br>"
                                        "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
                                    ),
                                },
                            },
                        ],
                    },
                ],
            },
        },
    ],
    "fallbackText": "❌ 2 个任务已结束：1 个成功，1 个失败",
}

ANSWERS = [
    (200, {"name": "spaces/A/messages/B"}, Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "Google Chat: 200 with an HTML page, probably from a proxy"),
    (200, "ok", Verdict.DELIVERED, "Google Chat: taken as delivered; 200, but not with its usual answer"),
    (
        400,
        {"error": {"code": 400, "message": "Bad card", "status": "INVALID_ARGUMENT"}},
        Verdict.REFUSED,
        "Google Chat: Bad card (400): Google Chat rejected the message, or the URL is not complete",
    ),
    (
        403,
        {"error": {"code": 403, "message": "No", "status": "PERMISSION_DENIED"}},
        Verdict.REFUSED,
        "Google Chat: No (403): the space's managers or the organisation do not allow it",
    ),
    (
        404,
        {"error": {"code": 404, "message": "Not here", "status": "NOT_FOUND"}},
        Verdict.REFUSED,
        "Google Chat: Not here (404): the space or the webhook no longer exists",
    ),
    (410, "", Verdict.GONE, "Google Chat: answered 410"),
    (500, "", Verdict.RETRY, "Google Chat: answered 500"),
]


def test_who_asks_too_often_waits_for_the_minute_of_its_quota() -> None:
    outcome = judged(FORMAT, 429, {"error": {"message": "Quota", "status": "RESOURCE_EXHAUSTED"}})
    assert (outcome.verdict, outcome.retry_after, outcome.overloaded) == (Verdict.RETRY, timedelta(minutes=1), True)
    assert outcome.service_message == "Google Chat: Quota (429): rate limit exceeded"


def test_all_webhooks_of_a_space_share_its_rate() -> None:
    one, other = (url(f"https://chat.googleapis.com/v1/spaces/A/messages?key=k&token={token}") for token in "tu")
    assert FORMAT.bot(one) == FORMAT.bot(other)


def test_a_url_without_its_token_is_refused() -> None:
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://chat.googleapis.com/v1/spaces/A/messages?key=k"), None)


def test_jobs_have_links_of_their_own() -> None:
    FORMAT.check(url(URL), None)
    assert '<a href="https://console.example/jobs/6837531fd3f54550927b930180a706bf">' in str(
        rendered(FORMAT, FINISHED, options(URL, link=LINK))
    )
