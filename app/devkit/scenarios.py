"""The demo's jobs, and what is to come of them."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# CPH's published example of ShowJob, to the letter.
EXAMPLE = {
    "error_msg": None,
    "execute_msg": None,
    "job_id": "6837531fd3f54550927b930180a706bf",
    "phone_id": "9b28fbe50ded4060b8149a47e55dba82",
    "end_time": "2019-04-26T07:00:06Z",
    "begin_time": "2019-04-26T07:00:00Z",
    "error_code": None,
    "request_id": "2676a3b4f7df49c297c6775989806d32",
    "status": 2,
}
REFUSED = "phone-3"
RESTARTED = {"total": 3, "succeeded": 2, "failed": 1, "lost": 0, "overdue": 0}
GIVEN = ("job_id", "phone_id", "end_time", "begin_time", "request_id")
FAILURE = {"outcome": "failed", "error_code": "CPS.0003", "error_msg": "Internal error."}


class Mismatch(Exception):
    """What came is not what was to come."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """script: for the stand-in; None for a job that CPH does not know. phones: restarted together, by one call."""

    name: str
    about: str
    ends_as: str
    script: Mapping[str, Any] | None
    job_id: str = field(default_factory=lambda: secrets.token_hex(16))
    phones: tuple[str, ...] = ()


def new_cases() -> list[Scenario]:
    example = {name: EXAMPLE[name] for name in GIVEN}
    return [
        Scenario(
            "example",
            "succeeds after 6 s; ids and times are those of CPH's documentation",
            "job.succeeded",
            {**example, "duration_s": 6},
            job_id=str(EXAMPLE["job_id"]),
        ),
        Scenario("failing", "fails after 3 s", "job.failed", {**FAILURE, "duration_s": 3}),
        Scenario("finished", "has ended before it is registered", "job.succeeded", {"duration_s": 0}),
        Scenario("unknown", "is unknown to CPH", "job.lost", None),
        Scenario(
            "restart",
            "CPH's answer to a restart of three phones: they take 4 s, but one is refused",
            "group.finished",
            {"duration_s": 4},
            phones=("phone-1", "phone-2", REFUSED),
        ),
    ]


def judge(cases: Sequence[Scenario], callbacks: Sequence[Mapping[str, Any]]) -> None:
    """callbacks: as the inbox has them. Mismatch says what is wrong with them."""
    events = {callback["path"].strip("/"): json.loads(callback["body"]) for callback in callbacks}
    came = {name: event["type"] for name, event in events.items()}
    if len(callbacks) != len(cases) or came != {case.name: case.ends_as for case in cases}:
        raise Mismatch(f"other callbacks than expected: {came}")
    if not all(callback["verified"] for callback in callbacks):
        raise Mismatch("standardwebhooks says that a signature is wrong")
    for case in cases:
        data = events[case.name]["data"]
        if case.phones and data["group"] != RESTARTED:
            raise Mismatch(f"the jobs of {case.name} are told as {data['group']}")
        if not case.phones and data["job"]["job_id"] != case.job_id:
            raise Mismatch(f"the callback of {case.name} is about another job")
    job = events["example"]["data"]["job"]
    if {name: job[name] for name in EXAMPLE} != EXAMPLE:
        raise Mismatch(f"the example's callback differs from CPH's documentation: {job}")
