"""The `discord` format: messages sent to Discord, and verdicts on its answers."""

from datetime import timedelta

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.discord import FORMAT
from tests.support.message_samples import FAILED, NOW, judged, options, rendered, url

URL = "https://discord.com/api/webhooks/1/t"

FAILED_JOB_IN_ENGLISH = {
    "embeds": [
        {
            "title": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
            "color": 14687834,
            "fields": [
                {
                    "name": "Error",
                    "value": "CPS.0003: Internal error.",
                    "inline": True,
                },
                {
                    "name": "Took",
                    "value": "2 min 6 s",
                    "inline": True,
                },
                {
                    "name": "Job",
                    "value": "6837531fd3f54550927b930180a706bf",
                    "inline": True,
                },
                {
                    "name": "Request",
                    "value": "2676a3b4f7df49c297c6775989806d32",
                    "inline": True,
                },
                {
                    "name": "Project",
                    "value": "default",
                    "inline": True,
                },
                {
                    "name": "operation",
                    "value": "restart",
                    "inline": True,
                },
            ],
            "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
        },
    ],
    "allowed_mentions": {
        "parse": [],
    },
}

JOBS_IN_CHINESE = {
    "embeds": [
        {
            "title": "❌ 2 个任务已结束：1 个成功，1 个失败",
            "color": 14687834,
            "description": (
                "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
                "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
                "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
            ),
            "fields": [
                {
                    "name": "项目",
                    "value": "default",
                    "inline": True,
                },
                {
                    "name": "登记",
                    "value": "reg\\_01kdyqfbhgzzzzzzzzzzzzzzzz",
                    "inline": True,
                },
            ],
        },
    ],
    "allowed_mentions": {
        "parse": [],
    },
}

ANSWERS = [
    (204, "", Verdict.DELIVERED, None),
    (200, {"id": "5"}, Verdict.DELIVERED, None),
    (200, "<!doctype html>", Verdict.RETRY, "Discord: 200 with an HTML page, probably from a proxy"),
    (200, "", Verdict.DELIVERED, "Discord: taken as delivered; 200, but not with its usual answer"),
    (
        404,
        {"message": "Unknown Webhook", "code": 10015},
        Verdict.REFUSED,
        "Discord: Unknown Webhook (10015): the webhook was removed: create a new one",
    ),
    (
        401,
        {"message": "Invalid Webhook Token", "code": 50027},
        Verdict.REFUSED,
        "Discord: Invalid Webhook Token (50027): the URL is wrong: copy all of it",
    ),
    (400, {"message": "Bad", "code": 1}, Verdict.REFUSED, "Discord: Bad (400)"),
    (410, {"message": "Gone", "code": 10015}, Verdict.GONE, "Discord: Gone (410)"),
    (500, "", Verdict.RETRY, "Discord: answered 500"),
]


def test_it_says_how_long_to_wait_in_seconds_and_the_header_is_more_exact() -> None:
    body = {"message": "You are being rate limited.", "retry_after": 64.57, "global": False}
    by_body = judged(FORMAT, 429, body)
    assert (by_body.verdict, by_body.overloaded) == (Verdict.RETRY, True)
    assert by_body.retry_after == timedelta(seconds=64.57)
    assert judged(FORMAT, 429, body, x_ratelimit_reset_after="1.5").retry_after == timedelta(seconds=1.5)
    assert judged(FORMAT, 429, "<html>", X_RateLimit_Reset_After="nonsense").retry_after is None


@pytest.mark.parametrize("version", ["", "/v6", "/v10"])
def test_it_is_called_by_version_10_and_the_query_stays(version: str) -> None:
    called = FORMAT.render([FAILED], options(f"https://discord.com/api{version}/webhooks/1/t?thread_id=7"), NOW).url
    assert called == "https://discord.com/api/v10/webhooks/1/t?thread_id=7"


def test_versions_of_the_url_are_the_same_bot() -> None:
    assert FORMAT.bot(url("https://discord.com/api/v9/webhooks/1/t?wait=true")) == "1/t"
    assert FORMAT.bot(url("https://discord.com/api/webhooks/1/t")) == "1/t"


@pytest.mark.parametrize("path", ["/api/webhooks/1/t/slack", "/api/webhooks/1", "/channels/1/2"])
def test_what_is_no_webhook_is_refused(path: str) -> None:
    with pytest.raises(InvalidField):
        FORMAT.check(url(f"https://discord.com{path}"), None)


def test_nobody_is_called() -> None:
    assert rendered(FORMAT, FAILED, options())["allowed_mentions"] == {"parse": []}


def test_urls_of_webhooks_are_taken() -> None:
    FORMAT.check(url("https://canary.discord.com/api/v9/webhooks/1/t_-x?wait=true"), None)
