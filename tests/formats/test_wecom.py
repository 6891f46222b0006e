"""The `wecom` format: messages sent to WeCom, and verdicts on its answers."""

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.format import Language
from app.formats.wecom import FORMAT
from tests.support.message_samples import FAILED, NOW, judged, options, url

URL = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k"

FAILED_JOB_IN_ENGLISH = {
    "msgtype": "markdown",
    "markdown": {
        "content": (
            '### <font color="warning">❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82</font>\n'
            '><font color="comment">Error:</font> CPS.0003: Internal error.\n'
            '><font color="comment">Took:</font> 2 min 6 s\n'
            '><font color="comment">Job:</font> 6837531fd3f54550927b930180a706bf\n'
            '><font color="comment">Request:</font> 2676a3b4f7df49c297c6775989806d32\n'
            '><font color="comment">Project:</font> default\n'
            '><font color="comment">operation:</font> restart\n'
            "[Open](https://console.example/jobs/6837531fd3f54550927b930180a706bf)"
        ),
    },
}

JOBS_IN_CHINESE = {
    "msgtype": "markdown",
    "markdown": {
        "content": (
            '### <font color="warning">❌ 2 个任务已结束：1 个成功，1 个失败</font>\n'
            '><font color="comment">项目:</font> default\n'
            '><font color="comment">登记:</font> reg_01kdyqfbhgzzzzzzzzzzzzzzzz\n'
            "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
            "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
            "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
        ),
    },
}

ANSWERS = [
    (200, {"errcode": 0, "errmsg": "ok"}, Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "WeCom: 200 with an HTML page, probably from a proxy"),
    (200, "[]", Verdict.DELIVERED, "WeCom: taken as delivered; 200, but not with its usual answer"),
    (
        200,
        {"errcode": 93000, "errmsg": "invalid webhook url"},
        Verdict.REFUSED,
        "WeCom: invalid webhook url (93000): the URL is wrong, or the bot was removed",
    ),
    (
        200,
        {"errcode": 40008, "errmsg": "invalid message type"},
        Verdict.REFUSED,
        "WeCom: invalid message type (40008): WeCom rejected the message",
    ),
    (
        200,
        {"errcode": 40058, "errmsg": "exceed max length 4096"},
        Verdict.REFUSED,
        "WeCom: exceed max length 4096 (40058): WeCom rejected the message",
    ),
    (200, {"errcode": -1, "errmsg": "system busy"}, Verdict.REFUSED, "WeCom: system busy (-1): WeCom is busy"),
    (200, {"errcode": 6000, "errmsg": "conflict"}, Verdict.REFUSED, "WeCom: conflict (6000): WeCom is busy"),
    (200, {"errcode": 4711, "errmsg": "New"}, Verdict.REFUSED, "WeCom: New (4711)"),
    (410, "", Verdict.GONE, "WeCom: answered 410"),
    (429, "", Verdict.RETRY, "WeCom: answered 429: rate limit exceeded"),
    (500, "", Verdict.RETRY, "WeCom: answered 500"),
]


@pytest.mark.parametrize("code", [45009, 45033])
def test_asking_too_often_is_reported_as_overload(code: int) -> None:
    outcome = judged(FORMAT, 200, {"errcode": code, "errmsg": "api freq out of limit"})
    assert (outcome.verdict, outcome.overloaded) == (Verdict.RETRY, True)


def test_nothing_is_escaped_as_ascii() -> None:
    assert "云手机".encode() in FORMAT.render([FAILED], options(language=Language.ZH_CN), NOW).body


def test_a_url_without_its_key_is_refused() -> None:
    FORMAT.check(url("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k"), None)
    with pytest.raises(InvalidField):
        FORMAT.check(url("https://qyapi.weixin.qq.com/cgi-bin/webhook/send"), None)
