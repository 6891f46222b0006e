"""The demo's jobs, and what is to come of them."""

import json
import secrets
from collections import Counter
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
GIVEN = ("job_id", "phone_id", "end_time", "begin_time", "request_id")
FAILURE = {"outcome": "failed", "error_code": "CPS.0003", "error_msg": "Internal error."}


class Mismatch(Exception):
    """What came is not what was to come."""


@dataclass(frozen=True, slots=True)
class Case:
    """script: for the stand-in; None for a job that CPH does not know."""

    name: str
    about: str
    ends_as: str
    script: Mapping[str, Any] | None
    job_id: str = field(default_factory=lambda: secrets.token_hex(16))


def new_cases() -> list[Case]:
    example = {name: EXAMPLE[name] for name in GIVEN}
    return [
        Case(
            "example",
            "succeeds after 6 s; ids and times are those of CPH's documentation",
            "job.succeeded",
            {**example, "duration_s": 6},
            job_id=str(EXAMPLE["job_id"]),
        ),
        Case("failing", "fails after 3 s", "job.failed", {**FAILURE, "duration_s": 3}),
        Case("finished", "has ended before it is registered", "job.succeeded", {"duration_s": 0}),
        Case("unknown", "is unknown to CPH", "job.lost", None),
    ]


def judge(cases: Sequence[Case], callbacks: Sequence[Mapping[str, Any]]) -> None:
    """callbacks: as the inbox has them. Mismatch says what is wrong with them."""
    events = [json.loads(callback["body"]) for callback in callbacks]
    came = Counter((event["data"]["job"]["job_id"], event["type"]) for event in events)
    if came != Counter((case.job_id, case.ends_as) for case in cases):
        raise Mismatch(f"other callbacks than expected: {dict(came)}")
    if not all(callback["verified"] for callback in callbacks):
        raise Mismatch("standardwebhooks says that a signature is wrong")
    jobs = {event["data"]["job"]["job_id"]: event["data"]["job"] for event in events}
    example = {name: jobs[EXAMPLE["job_id"]][name] for name in EXAMPLE}
    if example != EXAMPLE:
        raise Mismatch(f"the example's callback differs from CPH's documentation: {example}")
