"""The `mattermost` format: messages sent to Mattermost, and verdicts on its answers."""

from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.formats.mattermost import FORMAT
from tests.support.message_samples import event, options, rendered

URL = "https://chat.example/hooks/1"

FAILED_JOB_IN_ENGLISH = {
    "attachments": [
        {
            "fallback": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
            "color": "#E01E5A",
            "title": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
            "title_link": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
            "fields": [
                {
                    "title": "Error",
                    "value": "CPS.0003: Internal error.",
                    "short": True,
                },
                {
                    "title": "Took",
                    "value": "2 min 6 s",
                    "short": True,
                },
                {
                    "title": "Job",
                    "value": "6837531fd3f54550927b930180a706bf",
                    "short": True,
                },
                {
                    "title": "Request",
                    "value": "2676a3b4f7df49c297c6775989806d32",
                    "short": True,
                },
                {
                    "title": "Project",
                    "value": "default",
                    "short": True,
                },
                {
                    "title": "operation",
                    "value": "restart",
                    "short": True,
                },
            ],
        },
    ],
}

JOBS_IN_CHINESE = {
    "attachments": [
        {
            "fallback": "❌ 2 个任务已结束：1 个成功，1 个失败",
            "color": "#E01E5A",
            "title": "❌ 2 个任务已结束：1 个成功，1 个失败",
            "text": (
                "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
                "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
                "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
            ),
            "fields": [
                {
                    "title": "项目",
                    "value": "default",
                    "short": True,
                },
                {
                    "title": "登记",
                    "value": "reg\\_01kdyqfbhgzzzzzzzzzzzzzzzz",
                    "short": True,
                },
            ],
        },
    ],
}

ANSWERS = [
    (200, "ok", Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "Mattermost: 200 with an HTML page, probably from a proxy"),
    (200, "", Verdict.DELIVERED, "Mattermost: taken as delivered; 200, but not with its usual answer"),
    (
        400,
        {"id": "web.incoming_webhook.invalid.app_error", "message": "Invalid webhook", "status_code": 400},
        Verdict.REFUSED,
        "Mattermost: Invalid webhook (400): the webhook was removed, or the URL is wrong: create a new one",
    ),
    (403, {"message": "No"}, Verdict.REFUSED, "Mattermost: No (403)"),
    (410, "", Verdict.GONE, "Mattermost: answered 410"),
    (429, "limit exceeded", Verdict.RETRY, "Mattermost: limit exceeded (429): rate limit exceeded"),
    (500, "", Verdict.RETRY, "Mattermost: answered 500"),
]


def test_slack_s_mentions_which_it_knows_too_call_nobody() -> None:
    (attachment,) = rendered(FORMAT, event(Job("a_b", JobState.FAILED, error_msg="<!channel> @all `x`")), options())[
        "attachments"
    ]
    shown = {field["title"]: field["value"] for field in attachment["fields"]}
    assert shown["Error"] == "<\u200b!channel\\> @\u200ball \\`x\\`"
    assert shown["Job"] == r"a\_b"
