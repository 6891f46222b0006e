"""The `dingtalk` format: messages sent to DingTalk, and verdicts on its answers."""

from datetime import timedelta
from urllib.parse import unquote, urlsplit

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.dingtalk import FORMAT
from tests.support.message_samples import FAILED, NOW, judged, openssl_hmac, options, rendered, url

URL = "https://oapi.dingtalk.com/robot/send?access_token=t"

FAILED_JOB_IN_ENGLISH = {
    "msgtype": "actionCard",
    "actionCard": {
        "title": "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
        "text": (
            '### <font color="#E01E5A">'
            "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82</font>\n"
            "\n"
            "- **Error**: CPS.0003: Internal error.\n"
            "- **Took**: 2 min 6 s\n"
            "- **Job**: 6837531fd3f54550927b930180a706bf\n"
            "- **Request**: 2676a3b4f7df49c297c6775989806d32\n"
            "- **Project**: default\n"
            "- **operation**: restart"
        ),
        "singleTitle": "Open",
        "singleURL": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
    },
}

JOBS_IN_CHINESE = {
    "msgtype": "markdown",
    "markdown": {
        "title": "❌ 2 个任务已结束：1 个成功，1 个失败",
        "text": (
            '### <font color="#E01E5A">'
            "❌ 2 个任务已结束：1 个成功，1 个失败</font>\n"
            "\n"
            "- **项目**: default\n"
            "- **登记**: reg\\_01kdyqfbhgzzzzzzzzzzzzzzzz\n"
            "- ❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
            "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
            "- ✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
        ),
    },
}

ANSWERS = [
    (200, {"errcode": 0, "errmsg": "ok"}, Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "DingTalk: 200 with an HTML page, probably from a proxy"),
    (200, "", Verdict.DELIVERED, "DingTalk: taken as delivered; 200, but not with its usual answer"),
    (
        200,
        {"errcode": 310000, "errmsg": "sign not match"},
        Verdict.REFUSED,
        "DingTalk: sign not match (310000): the secret is wrong",
    ),
    (
        200,
        {"errcode": 310000, "errmsg": "keywords not in content"},
        Verdict.REFUSED,
        (
            "DingTalk: keywords not in content (310000): "
            "the bot requires a keyword that the message lacks: set it to require a signature instead"
        ),
    ),
    (
        200,
        {"errcode": 310000, "errmsg": "ip 192.0.2.1 not in whitelist"},
        Verdict.REFUSED,
        "DingTalk: ip 192.0.2.1 not in whitelist (310000): the bot's IP allowlist lacks the bridge's address",
    ),
    (
        200,
        {"errcode": 310000, "errmsg": "invalid timestamp"},
        Verdict.REFUSED,
        "DingTalk: invalid timestamp (310000): the clock is off by more than an hour",
    ),
    (
        200,
        {"errcode": 310000, "errmsg": "机器人发送签名不匹配;请确认时间戳"},
        Verdict.REFUSED,
        "DingTalk: 机器人发送签名不匹配;请确认时间戳 (310000): the secret is wrong",
    ),
    (
        200,
        {"errcode": 310000, "errmsg": "description:unknown"},
        Verdict.REFUSED,
        "DingTalk: description:unknown (310000)",
    ),
    (200, {"errcode": 310000}, Verdict.REFUSED, "DingTalk: answered 310000"),
    (200, {"errcode": 4711, "errmsg": "New"}, Verdict.REFUSED, "DingTalk: New (4711)"),
    (200, {"errcode": -1, "errmsg": "system busy"}, Verdict.REFUSED, "DingTalk: system busy (-1): DingTalk is busy"),
    (410, "", Verdict.GONE, "DingTalk: answered 410"),
    (500, "", Verdict.RETRY, "DingTalk: answered 500"),
]


@pytest.mark.parametrize("code", [130101, 410100, 90030])
def test_who_is_banned_waits_for_ten_minutes(code: int) -> None:
    outcome = judged(FORMAT, 200, {"errcode": code, "errmsg": "send too fast"})
    assert (outcome.verdict, outcome.retry_after, outcome.overloaded) == (Verdict.RETRY, timedelta(minutes=10), True)


def test_it_is_signed_in_the_query_by_the_millisecond_and_encoded_once() -> None:
    called = FORMAT.render(
        [FAILED], options("https://oapi.dingtalk.com/robot/send?access_token=a%2Bb", secret="SEC1"), NOW
    ).url
    query = urlsplit(called).query
    assert query.startswith("access_token=a%2Bb&timestamp=1556262128000&sign=")
    sign = query.rpartition("sign=")[2]
    assert unquote(sign) == openssl_hmac(b"SEC1", b"1556262128000\nSEC1")
    assert "%25" not in sign
    assert not set("+/=") & set(sign)


def test_without_a_secret_the_url_stays_as_it_is() -> None:
    plain = "https://oapi.dingtalk.com/robot/send?access_token=t"
    assert FORMAT.render([FAILED], options(plain), NOW).url == plain


def test_without_a_link_there_is_no_button() -> None:
    assert rendered(FORMAT, FAILED, options())["msgtype"] == "markdown"


def test_what_cannot_work_is_refused() -> None:
    FORMAT.check(url("https://oapi.dingtalk.com/robot/send?access_token=t"), "SEC1")
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://oapi.dingtalk.com/robot/send"), None)
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://oapi.dingtalk.com/robot/send?access_token=t&timestamp=1&sign=x"), None)
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://oapi.dingtalk.com/robot/send?access_token=t"), "whsec_AAAA")
