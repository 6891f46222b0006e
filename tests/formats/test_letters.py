"""The exact messages of each chat format, and its verdicts. The literals are in the file of each format."""

from types import ModuleType
from typing import Any

import pytest

from app.domain.verdict import Verdict
from app.formats.format import Format
from app.formats.registry import FORMATS
from tests.formats import (
    test_dingtalk,
    test_discord,
    test_feishu,
    test_googlechat,
    test_mattermost,
    test_rocketchat,
    test_slack,
    test_teams,
    test_telegram,
    test_wecom,
)
from tests.support.message_samples import FAILED, FINISHED, LINK, in_chinese, judged, options, rendered

EXPECTED = [
    test_slack,
    test_teams,
    test_discord,
    test_mattermost,
    test_rocketchat,
    test_googlechat,
    test_telegram,
    test_feishu,
    test_dingtalk,
    test_wecom,
]
ANSWERS = [(expected.FORMAT, *answer) for expected in EXPECTED for answer in expected.ANSWERS]


def test_no_chat_format_is_left_out() -> None:
    assert [expected.FORMAT.name for expected in EXPECTED] == [form.name for form in FORMATS if not form.machine]


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.FORMAT.name)
def test_a_failed_job_is_reported_with_these_words(expected: ModuleType) -> None:
    assert rendered(expected.FORMAT, FAILED, options(expected.URL, link=LINK)) == expected.FAILED_JOB_IN_ENGLISH


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.FORMAT.name)
def test_all_jobs_of_a_registration_are_reported_in_chinese(expected: ModuleType) -> None:
    assert in_chinese(expected.FORMAT, FINISHED, expected.URL) == expected.JOBS_IN_CHINESE


@pytest.mark.parametrize(("form", "status", "body", "verdict", "service_message"), ANSWERS)
def test_what_an_answer_means(
    form: Format, status: int, body: Any, verdict: Verdict, service_message: str | None
) -> None:
    outcome = judged(form, status, body)
    assert (outcome.verdict, outcome.service_message) == (verdict, service_message)
    assert outcome.overloaded == (status == 429)
