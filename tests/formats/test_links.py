"""The links in messages."""

import pytest

from app.domain.errors import InvalidField
from app.domain.event import Event
from app.domain.job import Job, JobState
from app.formats.links import check, filled, is_per_job
from tests.support.message_samples import FAILED, FAILED_JOB, NOW, TEST


def test_every_name_is_filled_in_and_encoded_once() -> None:
    job = Job("a/b?c", JobState.FAILED, request_id="r&r", phone_id='"><', server_id="云 %2F")
    event = Event("evt_1", "reg_1", "p(1)", job, NOW, {})
    template = (
        "https://c.example/{project}/{job_id}?r={request_id}&p={phone_id}&s={server_id}#{registration_id}{event_id}"
    )
    assert filled(template, event, job) == (
        "https://c.example/p%281%29/a%2Fb%3Fc?r=r%26r&p=%22%3E%3C&s=%E4%BA%91%20%252F#reg_1evt_1"
    )


def test_what_would_end_a_link_in_markup_is_encoded_in_the_template_too() -> None:
    assert filled("https://c.example/(x)|<*>'", TEST, None) == "https://c.example/%28x%29%7C%3C%2A%3E%27"


def test_without_what_it_names_there_is_no_link() -> None:
    assert filled("https://c.example/{server_id}", FAILED, FAILED_JOB) is None
    assert filled("https://c.example/{job_id}", TEST, None) is None
    assert filled(None, FAILED, FAILED_JOB) is None


def test_a_link_that_is_too_long_or_leads_elsewhere_is_none() -> None:
    long = Job("j" * 2_000, JobState.FAILED)
    assert filled("https://c.example/{job_id}", FAILED, long) is None
    assert filled("https://c.example/" + "{job_id}" * 30, FAILED, Job("字" * 30, JobState.FAILED)) is None
    assert filled("javascript:{job_id}", FAILED, FAILED_JOB) is None


def test_which_templates_give_each_job_a_page() -> None:
    assert is_per_job("https://c.example/{phone_id}")
    assert not is_per_job("https://c.example/{registration_id}")
    assert not is_per_job(None)


def test_templates_that_give_no_link_are_refused() -> None:
    check("https://c.example/{job_id}?e={event_id}")
    for wrong in ("javascript:1", "https://c.example/{jobid}", "https://c.example/{", "https://c.example/" + "x" * 512):
        with pytest.raises(InvalidField) as refused:
            check(wrong)
        assert refused.value.pointer == "/link"
