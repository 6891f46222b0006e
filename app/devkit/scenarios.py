"""The demo's jobs and the callbacks expected for them."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# CPH's published ShowJob example, unchanged.
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
COPIED_FIELDS = ("job_id", "phone_id", "end_time", "begin_time", "request_id")
FAILURE = {"outcome": "failed", "error_code": "CPS.0003", "error_msg": "Internal error."}


class Mismatch(Exception):
    """The callbacks differ from the expected ones."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """script: for the stand-in; None for a job that CPH does not know. phones: restarted by one call."""

    name: str
    about: str
    ends_as: str
    script: Mapping[str, Any] | None
    job_id: str = field(default_factory=lambda: secrets.token_hex(16))
    phones: tuple[str, ...] = ()


def new_scenarios() -> list[Scenario]:
    example = {name: EXAMPLE[name] for name in COPIED_FIELDS}
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


def check_callbacks(scenarios: Sequence[Scenario], callbacks: Sequence[Mapping[str, Any]]) -> None:
    """Raises Mismatch if the callbacks are not the expected ones. callbacks: messages of the inbox."""
    events = {callback["path"].strip("/"): json.loads(callback["body"]) for callback in callbacks}
    types = {name: event["type"] for name, event in events.items()}
    if len(callbacks) != len(scenarios) or types != {scenario.name: scenario.ends_as for scenario in scenarios}:
        raise Mismatch(f"other callbacks than expected: {types}")
    if not all(callback["verified"] for callback in callbacks):
        raise Mismatch("standardwebhooks rejected a signature")
    for scenario in scenarios:
        data = events[scenario.name]["data"]
        if scenario.phones and data["group"] != RESTARTED:
            raise Mismatch(f"the jobs of {scenario.name} are summarised as {data['group']}")
        if not scenario.phones and data["job"]["job_id"] != scenario.job_id:
            raise Mismatch(f"the callback of {scenario.name} is about another job")
    job = events["example"]["data"]["job"]
    if {name: job[name] for name in EXAMPLE} != EXAMPLE:
        raise Mismatch(f"the example's callback differs from CPH's documentation: {job}")
