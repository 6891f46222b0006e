"""The links in messages."""

import pytest

from app.domain.errors import InvalidField
from app.domain.event import Event
from app.domain.job import Job, JobState
from app.formats.links import check, filled, is_per_job, public_only
from tests.support.message_samples import FAILED, FAILED_JOB, NOW, TEST, options


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


@pytest.mark.parametrize(
    ("template", "link"),
    [
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://云.example:8443/", "https://xn--9kq.example:8443/"),
        ("http://console:8080/{project}", "http://console:8080/default"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        ("https://C.example", "https://c.example"),
        ("https://c.example?{project}", "https://c.example?default"),
        ("https://{project}.example/", "https://default.example/"),
    ],
)
def test_a_host_is_written_as_services_know_it(template: str, link: str) -> None:
    assert filled(template, FAILED, FAILED_JOB) == link


@pytest.mark.parametrize(
    "template",
    [
        *(
            "https://",
            "https:///x",
            "https://?x",
            "https://#",
            "https://a b",
            "https://a b.example/",
            "https://.example/",
        ),
        *(
            "https://a..example/",
            "https://c.example:99999/",
            "https://c.example:0/",
            "https://c.example:x/",
            "https://:80",
        ),
        *("https://u:p@c.example/", "https://u@c.example/", "https://[::1/", "https://[x]/", "https://::1/"),
        *(
            "https://straße.example/",
            "https://c.example\n.evil.example/",
            "https://a\\b.example/",
            "https://c.example\x00/",
        ),
        *("https://-.example/", f"https://{'a' * 64}.example/", "https://a%20b.example/"),
    ],
)
def test_a_link_that_no_browser_opens_is_none(template: str) -> None:
    assert filled(template, FAILED, FAILED_JOB) is None


def test_a_service_that_opens_public_hosts_only_gets_no_other_link() -> None:
    for link in ("http://console:8080/{job_id}", "http://localhost/", "https://[::1]/"):
        assert public_only(options(link=link)).link is None
    for link in ("https://c.example/{job_id}", "http://192.0.2.1/", None):
        assert public_only(options(link=link)).link == link


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
