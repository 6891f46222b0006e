"""Events for receivers that refuse large bodies."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.domain.event import Event
from app.domain.job import Job, JobState
from app.formats import cloudevents, standard
from app.formats.cut_events import MAX_BYTES
from app.formats.format import Format
from tests.support.message_samples import FAILED, FAILED_JOB, GOOD_JOB, NOW, SUCCEEDED, TEST, event, group, options

FORMATS = (standard.FORMAT, cloudevents.FORMAT)


def cut(form: Format, about: Event) -> tuple[Any, int]:
    outgoing = form.fallback([about], options(), NOW)
    assert outgoing is not None
    full = form.render([about], options(), NOW)
    assert (outgoing.url, outgoing.headers) == (full.url, full.headers)
    shorter, whole = json.loads(outgoing.body), json.loads(full.body)
    assert {name: value for name, value in shorter.items() if name != "data"} == {
        name: value for name, value in whole.items() if name != "data"
    }
    return shorter["data"], len(outgoing.body)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_job_loses_its_long_texts_and_keeps_what_identifies_it(form: Format) -> None:
    data, size = cut(form, event(replace(FAILED_JOB, execute_msg="x" * 60_000, error_msg="手" * 20_000), room="ops"))
    assert size < 2_000
    assert data["truncated"] is True
    assert (data["job"]["error_msg"], data["job"]["execute_msg"]) == (None, None)
    assert (data["job"]["job_id"], data["job"]["state"], data["job"]["error_code"]) == (
        FAILED_JOB.job_id,
        "failed",
        "CPS.0003",
    )
    assert data["metadata"] == {"room": "ops"}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_group_loses_its_texts_first_and_then_its_last_jobs(form: Format) -> None:
    jobs = [replace(FAILED_JOB, job_id=f"{number:032}", error_msg="e" * 300) for number in range(60)]
    data, size = cut(form, event(group(*jobs)))
    assert len(data["jobs"]) == 60
    assert {job["error_msg"] for job in data["jobs"]} == {None}
    many = [replace(job, job_id=f"{number:032}") for number, job in enumerate((FAILED_JOB, *[GOOD_JOB] * 900))]
    data, size = cut(form, event(group(*many)))
    assert MAX_BYTES * 0.95 < size <= MAX_BYTES
    assert data["group"] == {"total": 901, "succeeded": 900, "failed": 1, "lost": 0, "overdue": 0}
    assert data["truncated"] is True
    assert [job["job_id"] for job in data["jobs"]] == [f"{number:032}" for number in range(len(data["jobs"]))]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("about", [TEST, SUCCEEDED, event(Job("j", JobState.LOST))])
def test_what_is_short_is_not_sent_a_second_time(form: Format, about: Event) -> None:
    assert form.fallback([about], options(), NOW) is None


def test_the_event_itself_stays_as_it_was() -> None:
    before = standard.render(FAILED)
    standard.FORMAT.fallback([FAILED], options(), NOW)
    assert standard.render(FAILED) == before
