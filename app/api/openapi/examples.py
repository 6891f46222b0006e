"""Examples for the OpenAPI document, with ids and times from CPH's own documentation."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.event import DestinationChange, Event, EventType, Group, OwnEventType
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason
from app.formats import standard

JOB_ID = "6837531fd3f54550927b930180a706bf"
REQUEST_ID = "2676a3b4f7df49c297c6775989806d32"
PHONE_ID = "9b28fbe50ded4060b8149a47e55dba82"
REGISTRATION_ID = "reg_01d9fnzmg0218wbh11179pcghp"
CALLBACK = "https://bot.example/hooks/cph"
ENDED = datetime(2019, 4, 26, 7, 0, 8, tzinfo=UTC)

REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/registrations"): {
        "minimal": {"job_id": JOB_ID, "callback_url": CALLBACK},
        "several jobs": {
            "job_ids": [JOB_ID, "81c1fc0ee9d0c6cd57605551fbd206b7"],
            "callback_url": CALLBACK,
            "notify": "all",
            "metadata": {"room": "ops", "operation": "restart"},
        },
        "CPH's submission response": {
            "submission": {"request_id": REQUEST_ID, "jobs": [{"phone_id": PHONE_ID, "job_id": JOB_ID}]},
            "callback_url": CALLBACK,
            "headers": {"Authorization": "Bearer of-the-receiver"},
            "deadline_s": 3600,
        },
    },
    ("POST", "/v1/callbacks/test"): {"minimal": {"callback_url": CALLBACK}},
    ("POST", "/v1/deliveries/redeliver"): {
        "dry run": {"state": "dead", "since": "2019-04-26T07:00:00Z", "dry_run": True}
    },
    ("POST", "/v1/registrations/{id}/rotate-secret"): {"overlap of a day": {"overlap_s": 86_400}},
    ("POST", "/v1/keys"): {"for a bot": {"name": "bot", "scopes": ["registrations:write"], "expires_in_s": 2_592_000}},
    ("POST", "/v1/keys/{id}/rotate"): {"overlap of an hour": {"overlap_s": 3_600}},
}


def _problem(status: int, title: str, detail: str, **more: Any) -> dict[str, Any]:
    head = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": "5f0c6b0f4a2d4c41"}
    return head | more


PROBLEMS = {
    "401": _problem(401, "Unauthorized", "send `Authorization: Bearer <key>` with a valid key"),
    "422": _problem(
        422,
        "Unprocessable Entity",
        "The request is invalid; `errors` lists the fields.",
        type="/problems/invalid-field",
        errors=[{"pointer": "/callback_url", "detail": "must be https"}],
        hint="the operator may allow http",
    ),
    "429": _problem(
        429,
        "Too Many Requests",
        "The tenant's quota of registrations is reached.",
        type="/problems/quota-reached",
        hint="wait until some registrations have ended, or cancel some",
    ),
}


def event(kind: str) -> Any:
    """Returns an event of a type, in the format `standard`."""
    return standard.body(
        Event(
            id="evt_01d9fnzmg09a4384dd55d4999c",
            registration_id=REGISTRATION_ID,
            project="default",
            about=_about(kind),
            observed_at=ENDED,
            metadata={"room": "ops"},
        )
    )


def _about(kind: str) -> Job | Group | DestinationChange | None:
    if kind == OwnEventType.CALLBACK_TEST:
        return None
    if kind in frozenset(OwnEventType):
        since = ENDED - timedelta(days=5)
        return DestinationChange(OwnEventType(kind), "team-a", "https://bot.example:443", since, failures=120, held=17)
    if kind == EventType.GROUP_FINISHED:
        counts = {state: int(state is JobState.SUCCEEDED) for state in JobState if state.ended}
        return Group(counts, (_job(JobState.SUCCEEDED),), truncated=False)
    return _job(JobState(kind.partition(".")[2]))


def _job(state: JobState) -> Job:
    begun: dict[str, Any] = {"request_id": REQUEST_ID, "phone_id": PHONE_ID, "begin_time": "2019-04-26T07:00:00Z"}
    match state:
        case JobState.SUCCEEDED:
            return Job(JOB_ID, state, status=2, end_time="2019-04-26T07:00:06Z", **begun)
        case JobState.FAILED:
            failed: dict[str, Any] = {"error_code": "CPS.0005", "error_msg": "the phone does not answer"}
            return Job(JOB_ID, state, status=-1, end_time="2019-04-26T07:00:06Z", **begun, **failed)
        case JobState.OVERDUE:
            running = Unresolved(UnresolvedReason.STILL_RUNNING, ENDED)
            return Job(JOB_ID, state, status=1, **begun, unresolved=running)
        case _:
            return Job(JOB_ID, state, unresolved=Unresolved(UnresolvedReason.NEVER_SEEN, ENDED))
