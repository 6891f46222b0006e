"""The `cloudevents` format: its exact bytes, checked with the CloudEvents SDKs for Python and JavaScript."""

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from app.formats.cloudevents import FORMAT
from tests.support.message_judges import complaints
from tests.support.message_samples import EVERY, FAILED, LOST, NOW, REFUSED_AT_ONCE, TEST, judged, options, rendered


def test_a_failed_job_has_these_bytes() -> None:
    outgoing = FORMAT.render([FAILED], options("https://bot.example/hook"), NOW)
    assert outgoing.url == "https://bot.example/hook"
    assert outgoing.headers == {"Content-Type": "application/cloudevents+json"}
    assert outgoing.body.decode() == (
        '{"specversion":"1.0","id":"evt_00000000000000000000000000","type":"com.huaweicloud.cph.job.failed",'
        '"source":"/projects/default","subject":"6837531fd3f54550927b930180a706bf","time":"2019-04-26T07:02:08Z",'
        '"datacontenttype":"application/json",'
        '"data":{"registration_id":"reg_01kdyqfbhgzzzzzzzzzzzzzzzz","project":"default",'
        '"job":{"job_id":"6837531fd3f54550927b930180a706bf","state":"failed","status":-1,'
        '"request_id":"2676a3b4f7df49c297c6775989806d32","phone_id":"9b28fbe50ded4060b8149a47e55dba82","server_id":null,'
        '"begin_time":"2019-04-26T07:00:00Z","end_time":"2019-04-26T07:02:06Z","error_code":"CPS.0003",'
        '"error_msg":"Internal error.","execute_msg":"what a command has printed"},'
        '"observed_at":"2019-04-26T07:02:08Z","metadata":{"operation":"restart"}}}'
    )


@pytest.mark.parametrize("event", EVERY)
def test_the_python_sdk_reads_every_event(event: object) -> None:
    outgoing = FORMAT.render([event], options(), NOW)  # type: ignore[list-item]
    read = from_structured_event(HTTPMessage(dict(outgoing.headers), outgoing.body))
    written = json.loads(outgoing.body)
    assert (read.get_id(), read.get_type(), read.get_source()) == (written["id"], written["type"], written["source"])
    assert read.get_time() == NOW
    assert read.get_data() == written["data"]


def test_the_javascript_sdk_finds_every_event_valid_by_the_specification_s_schema() -> None:
    sent = [FORMAT.render([event], options(), NOW) for event in EVERY]
    assert complaints(events=[{"headers": dict(each.headers), "body": each.body.decode()} for each in sent]) == []


def test_the_javascript_sdk_can_find_fault() -> None:
    headers = {"Content-Type": "application/cloudevents+json"}
    faulty = rendered(FORMAT, LOST, options()) | {"source": ""}
    assert len(complaints(events=[{"headers": headers, "body": json.dumps(faulty)}])) == 1


def test_only_what_is_about_one_job_with_an_id_has_a_subject() -> None:
    assert rendered(FORMAT, LOST, options())["subject"] == "lost-job"
    assert "subject" not in rendered(FORMAT, REFUSED_AT_ONCE, options())
    assert "subject" not in rendered(FORMAT, TEST, options())


def test_it_is_judged_by_its_status_alone() -> None:
    assert judged(FORMAT, 200, "<html>").verdict == "delivered"
    assert judged(FORMAT, 204).verdict == "delivered"
    assert judged(FORMAT, 410).verdict == "gone"
    assert judged(FORMAT, 429).overloaded
    assert judged(FORMAT, 404).verdict == "refused"
