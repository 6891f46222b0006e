"""The `telegram` format: messages sent to Telegram, and verdicts on its answers."""

import json
from datetime import timedelta

import pytest

from app.domain.errors import InvalidField
from app.domain.verdict import Verdict
from app.formats.format import ServiceAnswer
from app.formats.telegram import FORMAT
from tests.support.message_samples import FAILED, NOW, judged, options, url

URL = "https://api.telegram.org/bot1:a/sendMessage?chat_id=-100"

FAILED_JOB_IN_ENGLISH = {
    "chat_id": "-100",
    "text": (
        "<b>❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82</b>\n"
        "<b>Error:</b> CPS.0003: Internal error.\n"
        "<b>Took:</b> 2 min 6 s\n"
        "<b>Job:</b> <code>6837531fd3f54550927b930180a706bf</code>\n"
        "<b>Request:</b> <code>2676a3b4f7df49c297c6775989806d32</code>\n"
        "<b>Project:</b> default\n"
        "<b>operation:</b> restart"
    ),
    "parse_mode": "HTML",
    "link_preview_options": {
        "is_disabled": True,
    },
    "reply_markup": {
        "inline_keyboard": [
            [
                {
                    "text": "Open",
                    "url": "https://console.example/jobs/6837531fd3f54550927b930180a706bf",
                },
            ],
        ],
    },
}

JOBS_IN_CHINESE = {
    "chat_id": "-100",
    "text": (
        "<b>❌ 2 个任务已结束：1 个成功，1 个失败</b>\n"
        "<b>项目:</b> default\n"
        "<b>登记:</b> <code>reg_01kdyqfbhgzzzzzzzzzzzzzzzz</code>\n"
        "❌ 云手机 9b28fbe50ded4060b8149a47e55dba82 · "
        "CPS.0003：Internal error. · 6837531fd3f54550927b930180a706bf\n"
        "✅ 服务器 server-1 · 0c1fe7c1aabd4bd09a0ba8c2d4b4ab23"
    ),
    "parse_mode": "HTML",
    "link_preview_options": {
        "is_disabled": True,
    },
}

ANSWERS = [
    (200, {"ok": True, "result": {}}, Verdict.DELIVERED, None),
    (200, "<html>", Verdict.RETRY, "Telegram: 200 with an HTML page, probably from a proxy"),
    (200, "{}", Verdict.DELIVERED, "Telegram: taken as delivered; 200, but not with its usual answer"),
    (
        200,
        {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"},
        Verdict.REFUSED,
        "Telegram: Bad Request: chat not found (400): chat_id is wrong, or the bot is not in the chat",
    ),
    (200, {"ok": False}, Verdict.REFUSED, 'Telegram: {"ok": false} (400)'),
    (
        401,
        {"ok": False, "error_code": 401, "description": "Unauthorized"},
        Verdict.REFUSED,
        "Telegram: Unauthorized (401): the bot's token is wrong or was revoked",
    ),
    (
        403,
        {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked from the group chat"},
        Verdict.REFUSED,
        "Telegram: Forbidden: bot was kicked from the group chat (403): add the bot to the chat again",
    ),
    (
        404,
        {"ok": False, "error_code": 404, "description": "Not Found"},
        Verdict.REFUSED,
        "Telegram: Not Found (404): the bot's token is wrong: copy all of it",
    ),
    (410, "", Verdict.GONE, "Telegram: answered 410"),
    (502, "<html>", Verdict.RETRY, "Telegram: an HTML page (502)"),
]


@pytest.mark.parametrize("status", [200, 429])
def test_it_says_how_long_to_wait(status: int) -> None:
    outcome = judged(FORMAT, status, {"ok": False, "error_code": 429, "parameters": {"retry_after": 31}})
    assert (outcome.verdict, outcome.retry_after, outcome.overloaded) == (Verdict.RETRY, timedelta(seconds=31), True)


def test_a_chat_that_has_a_new_id_is_written_to_there_from_now_on() -> None:
    body = b'{"ok":false,"error_code":400,"description":"Upgraded","parameters":{"migrate_to_chat_id":-1001}}'
    called = "https://api.telegram.org/bot1:a/sendMessage?chat_id=-1&message_thread_id=5"
    outcome = FORMAT.judge(ServiceAnswer(400, {}, body, called))
    assert outcome.url == "https://api.telegram.org/bot1:a/sendMessage?message_thread_id=5&chat_id=-1001"
    assert outcome.verdict is Verdict.RETRY
    sent_to = FORMAT.render([FAILED], options(called), NOW).url
    assert FORMAT.judge(ServiceAnswer(400, {}, body, sent_to)).url == outcome.url


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("https://api.telegram.org/bot1:a?chat_id=-5", "https://api.telegram.org/bot1:a/sendMessage"),
        (
            "https://api.telegram.org/bot1:a/sendMessage?chat_id=-5&message_thread_id=7",
            "https://api.telegram.org/bot1:a/sendMessage?message_thread_id=7",
        ),
        ("https://api.telegram.org/bot1:a/?chat_id=-5", "https://api.telegram.org/bot1:a/sendMessage"),
    ],
)
def test_the_method_is_added_and_the_chat_goes_into_the_body(given: str, called: str) -> None:
    outgoing = FORMAT.render([FAILED], options(given), NOW)
    assert outgoing.url == called
    assert json.loads(outgoing.body)["chat_id"] == "-5"


@pytest.mark.parametrize(
    "wrong",
    ["/bot1:a/sendMessage", "/bot1:a?chat_id=", "/bot1:a/sendPhoto?chat_id=1", "/1:a?chat_id=1", "/bot1:a?chat_id=x"],
)
def test_what_names_no_bot_or_no_chat_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidField):
        FORMAT.check(url(f"https://api.telegram.org{wrong}"), None)


def test_each_chat_has_its_own_rate() -> None:
    one, other = (url(f"https://api.telegram.org/bot1:a/sendMessage?chat_id={chat}") for chat in ("-5", "%40ops"))
    FORMAT.check(one, None)
    FORMAT.check(other, None)
    assert FORMAT.bot(one) != FORMAT.bot(other)
    assert FORMAT.bot(one) == FORMAT.bot(url("https://api.telegram.org/bot1:a?chat_id=-5"))
