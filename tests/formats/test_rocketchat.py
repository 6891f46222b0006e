"""The `rocketchat` format: messages sent to Rocket.Chat, and verdicts on its answers."""

from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.formats.rocketchat import FORMAT
from tests.support.message_samples import event, options, rendered

URL = "https://chat.example/hooks/1/2"

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
            "actions": [
                {
                    "type": "button",
                    "text": "Open",
                    "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
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
    (200, {"success": True}, Verdict.DELIVERED, None),
    (200, "{}", Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "Rocket.Chat: 200 with an HTML page, probably from a proxy"),
    (200, "", Verdict.DELIVERED, "Rocket.Chat: taken as delivered; 200, but not with its usual answer"),
    (
        200,
        {"success": False, "error": "error-invalid-channel"},
        Verdict.REFUSED,
        "Rocket.Chat: error-invalid-channel: the channel no longer exists",
    ),
    (400, {"success": False, "error": "nope"}, Verdict.REFUSED, "Rocket.Chat: nope (400)"),
    (410, "", Verdict.GONE, "Rocket.Chat: answered 410"),
    (429, {"success": False, "error": "Slow"}, Verdict.RETRY, "Rocket.Chat: Slow (429): rate limit exceeded"),
    (503, "", Verdict.RETRY, "Rocket.Chat: answered 503"),
]


def test_what_no_backslash_helps_against_is_parted() -> None:
    about = Job("a_b", JobState.FAILED, error_msg="@all [x](https://evil.example) *b*")
    (attachment,) = rendered(FORMAT, event(about), options())["attachments"]
    shown = {field["title"]: field["value"] for field in attachment["fields"]}
    assert shown["Error"] == "@\u200ball [x]\u200b(https://evil.example) \\*b\\*"
    assert shown["Job"] == r"a\_b"
