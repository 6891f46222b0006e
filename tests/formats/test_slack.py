"""The `slack` format: messages sent to Slack, and verdicts on its answers."""

import pytest
from slack_sdk.models.blocks import Block

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.format import Language
from app.formats.slack import FORMAT
from tests.support.message_samples import EVERY, LINK, options, rendered, url

URL = "https://hooks.slack.com/services/T1/B1/abc"

FAILED_JOB_IN_ENGLISH = {
    "text": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
    "blocks": [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
                "emoji": False,
            },
        },
    ],
    "attachments": [
        {
            "color": "#E01E5A",
            "blocks": [
                {
                    "type": "section",
                    "fields": [
                        {
                            "type": "mrkdwn",
                            "text": "*Error*\n`CPS.0003: Internal error.`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*Took*\n`2 min 6 s`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*Job*\n`6837531fd3f54550927b930180a706bf`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*Request*\n`2676a3b4f7df49c297c6775989806d32`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*Project*\n`default`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*operation*\n`restart`",
                            "verbatim": True,
                        },
                    ],
                },
                {
                    "type": "section",
                    "text": {
                        "type": "mrkdwn",
                        "text": "<https://console.example/jobs/6837531fd3f54550927b930180a706bf|Open>",
                        "verbatim": True,
                    },
                },
            ],
        },
    ],
}

JOBS_IN_CHINESE = {
    "text": "❌ 2 个任务已结束：1 个成功，1 个失败",
    "blocks": [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": "❌ 2 个任务已结束：1 个成功，1 个失败",
                "emoji": False,
            },
        },
    ],
    "attachments": [
        {
            "color": "#E01E5A",
            "blocks": [
                {
                    "type": "section",
                    "fields": [
                        {
                            "type": "mrkdwn",
                            "text": "*项目*\n`default`",
                            "verbatim": True,
                        },
                        {
                            "type": "mrkdwn",
                            "text": "*登记*\n`reg_01kdyqfbhgzzzzzzzzzzzzzzzz`",
                            "verbatim": True,
                        },
                    ],
                },
                {
                    "type": "section",
                    "text": {
                        "type": "mrkdwn",
                        "text": (
                            "❌ `云手机 9b28fbe50ded4060b8149a47e55dba82` "
                            "`CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf`\n"
                            "✅ `服务器 server-1` `0c1fe7c1aabd4bd09a0ba8c2d4b4ab23`"
                        ),
                        "verbatim": True,
                    },
                },
            ],
        },
    ],
}

ANSWERS = [
    (200, "ok", Verdict.DELIVERED, None),
    (
        200,
        "<!DOCTYPE html><title>Sign in</title>",
        Verdict.RETRY,
        "Slack: 200 with an HTML page, probably from a proxy",
    ),
    (200, "", Verdict.DELIVERED, "Slack: taken as delivered; 200, but not with its usual answer"),
    (204, "", Verdict.DELIVERED, "Slack: taken as delivered; 204, but not with its usual answer"),
    (400, "invalid_payload", Verdict.REFUSED, "Slack: invalid_payload (400): Slack rejected the message"),
    (
        400,
        "invalid_token",
        Verdict.REFUSED,
        "Slack: invalid_token (400): the URL is wrong or was revoked: create a new webhook",
    ),
    (
        403,
        "action_prohibited",
        Verdict.REFUSED,
        "Slack: action_prohibited (403): the workspace's admins do not allow it",
    ),
    (404, "no_service", Verdict.REFUSED, "Slack: no_service (404): the webhook was removed: create a new one"),
    (410, "channel_is_archived", Verdict.GONE, "Slack: channel_is_archived (410)"),
    (429, "rate_limited", Verdict.RETRY, "Slack: rate_limited (429): rate limit exceeded"),
    (500, "rollup_error", Verdict.RETRY, "Slack: rollup_error (500)"),
    (503, "<html>", Verdict.RETRY, "Slack: an HTML page (503)"),
    (302, "", Verdict.REFUSED, "Slack: answered 302"),
]


def test_only_incoming_webhooks_are_taken() -> None:
    FORMAT.check(url("https://hooks.slack.com/services/T1/B1/abc"), None)
    FORMAT.check(url("https://slack.bot.example/anything"), None)
    with pytest.raises(InvalidField) as refused:
        FORMAT.check(url("https://hooks.slack.com/triggers/T1/1/abc"), None)
    assert "incoming webhook" in refused.value.detail


def test_slack_s_own_library_takes_every_message() -> None:
    for event in EVERY:
        for language in Language:
            body = rendered(FORMAT, event, options(link=LINK, language=language))
            blocks = body["blocks"] + [block for each in body.get("attachments", ()) for block in each["blocks"]]
            for block in blocks:
                parsed = Block.parse(block)
                assert parsed is not None
                parsed.validate_json()
