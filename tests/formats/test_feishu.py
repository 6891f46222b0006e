"""The `feishu` format: messages sent to Feishu, and verdicts on its answers."""

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.feishu import FORMAT
from tests.support.message_samples import FAILED, NOW, judged, openssl_hmac, options, rendered, url

URL = "https://open.feishu.cn/open-apis/bot/v2/hook/1"

FAILED_JOB_IN_ENGLISH = {
    "msg_type": "interactive",
    "card": {
        "config": {
            "wide_screen_mode": True,
        },
        "header": {
            "template": "red",
            "title": {
                "tag": "plain_text",
                "content": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
            },
        },
        "elements": [
            {
                "tag": "div",
                "fields": [
                    {
                        "is_short": False,
                        "text": {
                            "tag": "lark_md",
                            "content": "**Error**\nCPS.0003: Internal error.",
                        },
                    },
                    {
                        "is_short": True,
                        "text": {
                            "tag": "lark_md",
                            "content": "**Took**\n2 min 6 s",
                        },
                    },
                    {
                        "is_short": False,
                        "text": {
                            "tag": "lark_md",
                            "content": "**Job**\n6837531fd3f54550927b930180a706bf",
                        },
                    },
                    {
                        "is_short": False,
                        "text": {
                            "tag": "lark_md",
                            "content": "**Request**\n2676a3b4f7df49c297c6775989806d32",
                        },
                    },
                    {
                        "is_short": True,
                        "text": {
                            "tag": "lark_md",
                            "content": "**Project**\ndefault",
                        },
                    },
                    {
                        "is_short": True,
                        "text": {
                            "tag": "lark_md",
                            "content": "**operation**\nrestart",
                        },
                    },
                ],
            },
            {
                "tag": "action",
                "actions": [
                    {
                        "tag": "button",
                        "text": {
                            "tag": "plain_text",
                            "content": "Open",
                        },
                        "type": "default",
                        "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
                    },
                ],
            },
        ],
    },
}

JOBS_IN_CHINESE = {
    "msg_type": "interactive",
    "card": {
        "config": {
            "wide_screen_mode": True,
        },
        "header": {
            "template": "red",
            "title": {
                "tag": "plain_text",
                "content": "❌ 2 个任务已结束：1 个成功，1 个失败",
            },
        },
        "elements": [
            {
                "tag": "div",
                "fields": [
                    {
                        "is_short": True,
                        "text": {
                            "tag": "lark_md",
                            "content": "**项目**\ndefault",
                        },
                    },
                    {
                        "is_short": False,
                        "text": {
                            "tag": "lark_md",
                            "content": "**登记**\nreg_01kdyqfbhgzzzzzzzzzzzzzzzz",
                        },
                    },
                ],
            },
            {
                "tag": "div",
                "text": {
                    "tag": "lark_md",
                    "content": (
                        "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
                        "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
                        "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
                    ),
                },
            },
        ],
    },
}

ANSWERS = [
    (200, {"code": 0, "msg": "success", "data": {}}, Verdict.DELIVERED, None),
    (200, {"StatusCode": 0, "StatusMessage": "success"}, Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "Feishu: 200 with an HTML page, probably from a proxy"),
    (200, "{}", Verdict.DELIVERED, "Feishu: taken as delivered; 200, but not with its usual answer"),
    (
        200,
        {"code": 19021, "msg": "sign match fail or timestamp is not within one hour from current time"},
        Verdict.REFUSED,
        (
            "Feishu: sign match fail or timestamp is not within one hour from current time (19021): "
            "the secret is wrong, or the clock is off by more than an hour"
        ),
    ),
    (
        200,
        {"code": 19022, "msg": "Ip Not Allowed"},
        Verdict.REFUSED,
        "Feishu: Ip Not Allowed (19022): the bot's IP allowlist lacks the bridge's address",
    ),
    (
        200,
        {"code": 19024, "msg": "Key Words Not Found"},
        Verdict.REFUSED,
        (
            "Feishu: Key Words Not Found (19024): "
            "the bot requires a keyword that the message lacks: set it to require a signature instead"
        ),
    ),
    (
        400,
        {"code": 9499, "msg": "Bad Request"},
        Verdict.REFUSED,
        "Feishu: Bad Request (9499): Feishu rejected the message",
    ),
    (200, {"code": 4711, "msg": "New"}, Verdict.REFUSED, "Feishu: New (4711)"),
    (200, {"StatusCode": 4711, "StatusMessage": "New"}, Verdict.REFUSED, "Feishu: New (4711)"),
    (200, {"code": "0"}, Verdict.DELIVERED, None),
    (404, "", Verdict.REFUSED, "Feishu: answered 404"),
    (410, {"code": 19001, "msg": "Gone"}, Verdict.GONE, "Feishu: Gone (410)"),
    (500, {"code": 1, "msg": "Oops"}, Verdict.RETRY, "Feishu: Oops (500)"),
]


@pytest.mark.parametrize(
    ("status", "code", "msg"), [(200, 11232, "frequency limited"), (400, 9499, "too many request")]
)
def test_asking_too_often_is_reported_as_overload(status: int, code: int, msg: str) -> None:
    outcome = judged(FORMAT, status, {"code": code, "msg": msg})
    assert (outcome.verdict, outcome.overloaded, outcome.service_message) == (
        Verdict.RETRY,
        True,
        f"Feishu: {msg} ({code}): rate limit exceeded",
    )


def test_it_is_signed_in_the_body_by_the_second() -> None:
    body = rendered(FORMAT, FAILED, options(secret="the bot's secret"))
    timestamp = str(int(NOW.timestamp()))
    assert body["timestamp"] == timestamp == "1556262128"
    assert body["sign"] == openssl_hmac(f"{timestamp}\nthe bot's secret".encode(), b"")
    assert "sign" not in rendered(FORMAT, FAILED, options())


def test_what_is_no_custom_bot_or_not_its_secret_is_refused() -> None:
    FORMAT.check(url("https://open.larksuite.com/open-apis/bot/v2/hook/1"), "secret")
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://open.feishu.cn/open-apis/bot/hook/1"), None)
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://open.feishu.cn/open-apis/bot/v2/hook/1"), "whsec_AAAA")
