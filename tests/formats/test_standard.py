"""The exact bytes of the `standard` format."""

from datetime import UTC, datetime

from app.domain.event import DestinationChange, Event, Group, OwnEventType
from app.domain.job import Job, JobState
from app.formats.standard import FORMAT, render
from tests.support.message_samples import NOW, TEST, judged, options


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
        about=job,
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


def test_all_jobs_of_a_registration_together_have_these_bytes() -> None:
    job = Job(None, JobState.FAILED, phone_id="phone-1", error_code="CPS.0004", execute_msg="not for everybody")
    counts = {JobState.SUCCEEDED: 1000, JobState.FAILED: 1, JobState.LOST: 0, JobState.OVERDUE: 0}
    event = Event(
        id="evt_01kdyqfbhg0123456789abcdef",
        registration_id="reg_01kdyqfbhgzzzzzzzzzzzzzzzz",
        project="default",
        about=Group(counts, (job,), truncated=True),
        observed_at=datetime(2019, 4, 26, 7, 0, 8, tzinfo=UTC),
        metadata={},
    )
    assert render(event).decode() == (
        '{"id":"evt_01kdyqfbhg0123456789abcdef","type":"group.finished","timestamp":"2019-04-26T07:00:08Z","data":{'
        '"registration_id":"reg_01kdyqfbhgzzzzzzzzzzzzzzzz","project":"default",'
        '"group":{"total":1001,"succeeded":1000,"failed":1,"lost":0,"overdue":0},'
        '"jobs":[{"job_id":null,"state":"failed","status":null,"request_id":null,"phone_id":"phone-1",'
        '"server_id":null,"begin_time":null,"end_time":null,"error_code":"CPS.0004","error_msg":null}],"truncated":true,'
        '"observed_at":"2019-04-26T07:00:08Z","metadata":{}}}'
    )


def test_what_befell_a_destination_has_these_bytes() -> None:
    since = datetime(2019, 4, 21, 7, 0, tzinfo=UTC)
    event = Event(
        id="evt_00000000000123456789abcdef",
        registration_id="reg_0000000000zzzzzzzzzzzzzzzz",
        project="",
        about=DestinationChange(
            OwnEventType.DESTINATION_DISABLED, "team-a", "https://bot.example:443", since, failures=1_451, held=77
        ),
        observed_at=datetime(2019, 4, 26, 7, 0, 8, tzinfo=UTC),
        metadata={},
    )
    assert render(event).decode() == (
        '{"id":"evt_00000000000123456789abcdef","type":"destination.disabled","timestamp":"2019-04-26T07:00:08Z",'
        '"data":{"tenant":"team-a","destination":"https://bot.example:443","since":"2019-04-21T07:00:00Z",'
        '"failures":1451,"held":77,"observed_at":"2019-04-26T07:00:08Z"}}'
    )


def test_a_machine_is_sent_the_same_bytes_about_one_event_and_judged_by_its_status_alone() -> None:
    outgoing = FORMAT.render([TEST], options("https://bot.example/hook"), NOW)
    assert (outgoing.url, outgoing.body) == ("https://bot.example/hook", render(TEST))
    assert outgoing.headers == {"Content-Type": "application/json"}
    assert FORMAT.machine
    assert judged(FORMAT, 200, "<html>").verdict == "delivered"
