"""Sample events, and their messages and verdicts in a format."""

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.domain.address import AddressPolicy
from app.domain.callback_url import CallbackUrl, parse
from app.domain.event import DestinationChange, Event, Group, OwnEventType
from app.domain.job import Job, JobState
from app.formats.format import AnswerVerdict, Format, Language, MessageOptions, ServiceAnswer
from app.formats.samples import sample

NOW = datetime(2019, 4, 26, 7, 2, 8, tzinfo=UTC)
LINK = "https://console.example/jobs/{job_id}"
REGISTRATION = "reg_01kdyqfbhgzzzzzzzzzzzzzzzz"

FAILED_JOB = Job(
    job_id="6837531fd3f54550927b930180a706bf",
    state=JobState.FAILED,
    status=-1,
    request_id="2676a3b4f7df49c297c6775989806d32",
    phone_id="9b28fbe50ded4060b8149a47e55dba82",
    begin_time="2019-04-26T07:00:00Z",
    end_time="2019-04-26T07:02:06Z",
    error_code="CPS.0003",
    error_msg="Internal error.",
    execute_msg="what a command has printed",
)
GOOD_JOB = Job(
    job_id="0c1fe7c1aabd4bd09a0ba8c2d4b4ab23",
    state=JobState.SUCCEEDED,
    status=2,
    server_id="server-1",
    begin_time="2019-04-26T07:00:00Z",
    end_time="2019-04-26T07:00:06Z",
)


def event(about: Job | Group | DestinationChange | None, number: int = 0, **metadata: Any) -> Event:
    return replace(sample(about, **metadata), id=f"evt_{number:026}", observed_at=NOW)


def change(kind: OwnEventType) -> DestinationChange:
    since = datetime(2019, 4, 21, 7, tzinfo=UTC)
    return DestinationChange(kind, "team-a", "https://bot.example:443", since, failures=1_451, held=77)


def group(*jobs: Job, truncated: bool = False, **more: int) -> Group:
    ended = {state: sum(job.state is state for job in jobs) for state in JobState if state.ended}
    return Group({state: count + more.get(state, 0) for state, count in ended.items()}, jobs, truncated)


FAILED = event(FAILED_JOB, operation="restart")
SUCCEEDED = event(GOOD_JOB)
LOST = event(Job("lost-job", JobState.LOST))
OVERDUE = event(Job("overdue-job", JobState.OVERDUE, phone_id="phone-2"))
REFUSED_AT_ONCE = event(Job(None, JobState.FAILED, phone_id="phone-3", error_code="CPS.0004"))
FINISHED = event(group(GOOD_JOB, FAILED_JOB))
TEST = event(None)
DISABLED = event(change(OwnEventType.DESTINATION_DISABLED))
REOPENED = event(change(OwnEventType.DESTINATION_REOPENED))
EVERY = (FAILED, SUCCEEDED, LOST, OVERDUE, REFUSED_AT_ONCE, FINISHED, TEST, DISABLED, REOPENED)


def options(url: str = "https://bot.example/", **more: Any) -> MessageOptions:
    return MessageOptions(url, **more)


def rendered(form: Format, events: Event | Sequence[Event], options: MessageOptions) -> Any:
    """The JSON of the message about these events."""
    all_events = (events,) if isinstance(events, Event) else events
    return json.loads(form.render(all_events, options, NOW).body)


def in_chinese(form: Format, event: Event, url: str = "https://bot.example/") -> Any:
    return rendered(form, event, options(url, language=Language.ZH_CN))


def judged(form: Format, status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> AnswerVerdict:
    """The verdict on an answer. headers: with `_` for `-`."""
    text = json.dumps(body) if isinstance(body, dict) else body
    content = text.encode() if isinstance(text, str) else text
    return form.judge(
        ServiceAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)
    )


def url(raw: str) -> CallbackUrl:
    return parse(raw, AddressPolicy(False, frozenset({443}), ()), "team-a")


def openssl_hmac(key: bytes, message: bytes) -> str:
    """HMAC-SHA256 in base64, computed by openssl instead of Python."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"]
    return base64.b64encode(subprocess.run(command, input=message, capture_output=True, check=True).stdout).decode()
