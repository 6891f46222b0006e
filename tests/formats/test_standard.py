"""The `standard` format, to the letter."""

from datetime import UTC, datetime

from app.domain.event import Event
from app.domain.job import Job, JobState
from app.formats.standard import render


def test_the_event_of_the_contract_has_these_bytes() -> None:
    job = Job(
        job_id="6837531fd3f54550927b930180a706bf",
        state=JobState.SUCCEEDED,
        status=2,
        request_id="2676a3b4f7df49c297c6775989806d32",
        phone_id="9b28fbe50ded4060b8149a47e55dba82",
        begin_time="2019-04-26T07:00:00Z",
        end_time="2019-04-26T07:00:06Z",
    )
    event = Event(
        id="evt_01kdyqfbhg0123456789abcdef",
        registration_id="reg_01kdyqfbhgzzzzzzzzzzzzzzzz",
        project="default",
        job=job,
        observed_at=datetime(2019, 4, 26, 7, 0, 8, 999_999, tzinfo=UTC),
        metadata={"Straße": "手机", "n": 1},
    )
    assert render(event).decode() == (
        '{"id":"evt_01kdyqfbhg0123456789abcdef","type":"job.succeeded","timestamp":"2019-04-26T07:00:08Z","data":{'
        '"registration_id":"reg_01kdyqfbhgzzzzzzzzzzzzzzzz","project":"default",'
        '"job":{"job_id":"6837531fd3f54550927b930180a706bf","state":"succeeded","status":2,'
        '"request_id":"2676a3b4f7df49c297c6775989806d32","phone_id":"9b28fbe50ded4060b8149a47e55dba82",'
        '"server_id":null,"begin_time":"2019-04-26T07:00:00Z","end_time":"2019-04-26T07:00:06Z",'
        '"error_code":null,"error_msg":null,"execute_msg":null},'
        '"observed_at":"2019-04-26T07:00:08Z","metadata":{"Straße":"手机","n":1}}}'
    )
