"""The content of messages, before any markup."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from app.domain.event import Event, Group
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.domain.wire import to_json
from app.formats.fit import BUDGETS, fit, within
from app.formats.format import Language
from app.formats.message import Fact, Message, Severity, SpaceBudget, message
from app.formats.registry import FORMATS
from app.formats.translations import COLUMNS, TEXTS
from tests.support.message_samples import (
    DISABLED,
    EVERY,
    FAILED,
    FAILED_JOB,
    FINISHED,
    GOOD_JOB,
    LINK,
    LOST,
    OVERDUE,
    REFUSED_AT_ONCE,
    REOPENED,
    SUCCEEDED,
    TEST,
    event,
    group,
    options,
    rendered,
)

SPACE = SpaceBudget(metadata=10, text=600, jobs=30)
TITLES = [
    (
        FAILED,
        "❌ Job failed: phone 9b28fbe50ded4060b8149a47e55dba82",
        "❌ 任务失败：云手机 9b28fbe50ded4060b8149a47e55dba82",
    ),
    (SUCCEEDED, "✅ Job succeeded: server server-1", "✅ 任务成功：服务器 server-1"),
    (LOST, "❓ Job lost: job lost-job", "❓ 任务丢失：任务 lost-job"),
    (OVERDUE, "⏰ Job overdue: phone phone-2", "⏰ 任务超时：云手机 phone-2"),
    (REFUSED_AT_ONCE, "❌ Job failed: phone phone-3", "❌ 任务失败：云手机 phone-3"),
    (FINISHED, "❌ 2 jobs have ended: 1 succeeded, 1 failed", "❌ 2 个任务已结束：1 个成功，1 个失败"),
    (TEST, "🔔 Test: messages from the bridge arrive here", "🔔 测试：通知可以送达此处"),
    (DISABLED, "❌ Callbacks stopped: https://bot.example:443", "❌ 回调已停用：https://bot.example:443"),
    (REOPENED, "✅ Callbacks resumed: https://bot.example:443", "✅ 回调已恢复：https://bot.example:443"),
]


def build_message(*events: Event, space: SpaceBudget = SPACE, **more: Any) -> Message:
    return message(events, options(**more), space)


def facts(about: Job, **more: Any) -> dict[str, str]:
    return {fact.label: fact.value for fact in build_message(event(about), **more).facts}


def job(**more: Any) -> Job:
    return Job(**({"job_id": "j", "state": JobState.FAILED} | more))


@pytest.mark.parametrize(("sample", "english", "chinese"), TITLES)
def test_the_title_says_what_happened_with_its_emoji(sample: Event, english: str, chinese: str) -> None:
    assert build_message(sample).title == english
    assert build_message(sample, language=Language.ZH_CN).title == chinese


@pytest.mark.parametrize("form", [form for form in FORMATS if not form.machine], ids=lambda form: form.name)
@pytest.mark.parametrize("language", Language)
def test_every_format_says_the_title_of_every_event(form: Any, language: Language) -> None:
    for each in EVERY:
        title = build_message(each, language=language).title.partition("://")[0]
        assert title in str(rendered(form, each, options(language=language))).replace("\\", "").replace("\u200b", "")


@pytest.mark.parametrize("form", [form for form in FORMATS if not form.machine], ids=lambda form: form.name)
@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("reason", UnresolvedReason)
def test_every_format_says_why_a_job_has_no_result(form: Any, language: Language, reason: UnresolvedReason) -> None:
    unresolved = Unresolved(reason, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "APIGW.0802")
    about = event(job(state=JobState.OVERDUE, unresolved=unresolved))
    why = TEXTS[reason][COLUMNS[language]]
    assert build_message(about, language=language).why == why
    shown = str(rendered(form, about, options(language=language))).replace("\\", "").replace("\u200b", "")
    for text in (why.replace("'", "")[:20], "APIGW.0802", "2026-01-02T03:04:05Z"):
        assert text in shown.replace("'", "").replace("&#x27;", "").replace("&#39;", "")


def test_a_group_says_of_each_job_why_it_has_no_result() -> None:
    unresolved = Unresolved(UnresolvedReason.CPH_REFUSED, None, "APIGW.0802")
    jobs = (job(state=JobState.OVERDUE, unresolved=unresolved), job(state=JobState.OVERDUE))
    (first, second) = build_message(event(group(*jobs))).lines
    assert first.about == "CPH refused to tell the bridge about it. Its result is unknown. (APIGW.0802)"
    assert second.about == ""


def test_an_overdue_job_of_an_earlier_version_is_not_said_to_have_run_on() -> None:
    assert build_message(event(job(state=JobState.OVERDUE))).why == "Its deadline passed before CPH showed its end."


def test_a_job_is_reported_with_error_duration_ids_and_metadata() -> None:
    assert build_message(FAILED).facts == (
        Fact("Error", "CPS.0003: Internal error."),
        Fact("Took", "2 min 6 s"),
        Fact("Job", "6837531fd3f54550927b930180a706bf", exact=True),
        Fact("Request", "2676a3b4f7df49c297c6775989806d32", exact=True),
        Fact("Project", "default"),
        Fact("operation", "restart"),
    )


def test_what_a_command_has_printed_is_never_reported() -> None:
    for form in FORMATS:
        if not form.machine:
            assert "printed" not in str(rendered(form, [FAILED, FINISHED][: form.digest], options()))


@pytest.mark.parametrize(
    ("end", "took", "in_chinese"),
    [
        ("2019-04-26T07:00:00Z", "0 s", "0 秒"),
        ("2019-04-26T07:00:59Z", "59 s", "59 秒"),
        ("2019-04-26T07:02:00Z", "2 min", "2 分"),
        ("2019-04-26T10:02:06Z", "3 h 2 min", "3 小时 2 分"),
        ("2019-04-28T07:59:06Z", "2 d", "2 天"),
        ("2019-04-26T06:00:00Z", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_how_long_it_took_is_reported_by_the_two_biggest_units(end: str | None, took: str, in_chinese: str) -> None:
    about = job(begin_time="2019-04-26T07:00:00Z", end_time=end)
    assert facts(about).get("Took") == took
    assert facts(about, language=Language.ZH_CN).get("用时") == in_chinese


def test_a_server_is_named_beside_the_phone() -> None:
    assert facts(job(phone_id="p", server_id="s"))["Server"] == "s"
    assert "Server" not in facts(job(server_id="s"))


def test_a_job_without_any_id_still_has_a_name() -> None:
    assert build_message(event(job(job_id=None))).title == "❌ Job failed: a job without an id"
    assert build_message(event(job(job_id=None, request_id="r"))).title == "❌ Job failed: a job of request r"


def test_metadata_that_is_no_text_is_reported_as_json() -> None:
    succeeded = event(GOOD_JOB, rooms=["a", 1], n=None)
    assert [(fact.label, fact.value) for fact in build_message(succeeded).facts][-2:] == [
        ("rooms", '["a",1]'),
        ("n", "null"),
    ]


def test_what_befell_a_destination_is_reported_with_since_when() -> None:
    assert {fact.label: fact.value for fact in build_message(DISABLED).facts} == {
        "Tenant": "team-a",
        "Since": "2019-04-21T07:00:00Z",
        "Failures": "1451",
        "Held": "77",
    }


def test_a_group_lists_what_did_not_succeed_first_and_says_how_many_are_left_out() -> None:
    jobs = [GOOD_JOB, job(job_id="late", state=JobState.OVERDUE), job(job_id="bad"), FAILED_JOB]
    finished = event(group(*jobs, truncated=True, succeeded=996))
    shown = build_message(finished, space=SpaceBudget(metadata=0, text=600, jobs=3))
    assert [line.name for line in shown.lines] == ["job bad", "phone 9b28fbe50ded4060b8149a47e55dba82", "job late"]
    assert shown.more == "and 997 more"
    assert shown.title == "❌ 1000 jobs have ended: 997 succeeded, 2 failed, 1 overdue"
    assert shown.lines[1].about == "CPS.0003: Internal error. · 6837531fd3f54550927b930180a706bf"


def test_a_group_of_one_is_not_plural() -> None:
    assert build_message(event(group(GOOD_JOB))).title == "✅ 1 job has ended: 1 succeeded"


def test_an_empty_group_is_good_news() -> None:
    assert build_message(event(Group({}, (), truncated=False))).severity is Severity.GOOD


def test_a_digest_names_all_the_worst_first() -> None:
    digest = build_message(SUCCEEDED, TEST, FINISHED, LOST, FAILED, link=LINK)
    assert digest.title == "❌ 5 messages: 1 failed, 1 lost, 1 succeeded, 1 about groups, 1 about the bridge"
    assert [(line.emoji, line.name) for line in digest.lines] == [
        ("❌", "2 jobs have ended: 1 succeeded, 1 failed"),
        ("❌", "phone 9b28fbe50ded4060b8149a47e55dba82"),
        ("❓", "job lost-job"),
        ("✅", "server server-1"),
        ("🔔", "Test: messages from the bridge arrive here"),
    ]
    assert digest.lines[1].link == "https://console.example/jobs/6837531fd3f54550927b930180a706bf"
    assert digest.lines[0].link is None
    assert digest.lines[0].about.startswith("reg_")


def test_where_there_is_hardly_room_a_digest_still_has_every_id() -> None:
    digest = build_message(FAILED, FINISHED, event(job(job_id=None, phone_id="p")), space=BUDGETS[-1])
    assert [line.name for line in digest.lines] == [FAILED_JOB.job_id, FINISHED.registration_id, "phone p"]
    assert [line.about for line in digest.lines] == ["", "", ""]


def test_jobs_of_a_group_have_links_of_their_own_if_the_template_is_about_jobs() -> None:
    own = build_message(FINISHED, link=LINK)
    assert own.link is None
    assert own.lines[0].link == "https://console.example/jobs/6837531fd3f54550927b930180a706bf"
    shared = build_message(FINISHED, link="https://console.example/{registration_id}")
    assert shared.link == ("https://console.example/reg_01kdyqfbhgzzzzzzzzzzzzzzzz", "Open")
    assert {line.link for line in shared.lines} == {None}


def test_metadata_goes_first_then_long_texts_then_jobs() -> None:
    """No budget is larger than the one before. Text shrinks once metadata is at 0, jobs once text is short."""
    for more, less in pairwise(BUDGETS):
        assert (less.metadata, less.text, less.jobs, less.links) <= (more.metadata, more.text, more.jobs, more.links)
        assert less.text == more.text or less.metadata == 0
        assert less.jobs == more.jobs or less.text <= 40


def test_the_fullest_message_that_fits_is_taken_and_the_last_if_none_does() -> None:
    def build(content: Message) -> dict[str, Any]:
        return {"facts": [fact.value for fact in content.facts]}

    full = fit([FAILED], options(), build, within(10_000))
    assert b"restart" in full
    assert b"restart" not in fit([FAILED], options(), build, within(len(full) - 1))
    last = to_json(build(message([FAILED], options(), BUDGETS[-1]))).encode()
    assert fit([FAILED], options(), build, within(0)) == last


def test_both_languages_fill_in_the_same_names() -> None:
    for english, chinese in TEXTS.values():
        assert sorted(_names(english)) == sorted(_names(chinese))


def _names(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]
