"""Parses CPH's JSON into records. Other modules trust the result."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import Unavailable
from app.domain.job import Job, JobState
from app.transport.client import Reply

# All documented statuses. Any other counts as running: callers log and count `job.status not in STATES`.
STATES: Mapping[int | None, JobState] = {1: JobState.RUNNING, 2: JobState.SUCCEEDED, -1: JobState.FAILED}
EXECUTE_MSG_BYTES = 1024
SERVER_ID = ("server_id", "encode_server_id", "node_id")  # an older CPH sends the second or third
HEADER_VALUE = re.compile(r"[!-~]+")


class UnexpectedAnswer(Unavailable):
    """The response does not match the request."""


def read_object(reply: Reply) -> dict[str, Any]:
    """Returns the body's JSON object; empty if the body is truncated or not one, such as a gateway's HTML."""
    if reply.truncated:
        return {}
    try:
        payload = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def read_job(payload: object, job_id: str) -> Job:
    """Returns the job. Raises UnexpectedAnswer if the payload is not an object or has another job_id."""
    if not isinstance(payload, dict):
        raise UnexpectedAnswer("the answer is not a JSON object")
    if payload.get("job_id") != job_id:
        raise UnexpectedAnswer("the answer is about another job")
    return job_from(payload, job_id)


def job_from(payload: Mapping[str, Any], job_id: str | None) -> Job:
    """Returns the job. job_id: validated by the caller; None if CPH sent none."""
    status = _number(payload.get("status"))
    return Job(
        job_id=job_id,
        state=STATES.get(status, JobState.RUNNING),
        status=status,
        request_id=text(payload.get("request_id")),
        phone_id=text(payload.get("phone_id")),
        server_id=first_text(payload, SERVER_ID),
        begin_time=text(payload.get("begin_time")),
        end_time=text(payload.get("end_time")),
        error_code=text(payload.get("error_code")),
        error_msg=text(payload.get("error_msg")),
        execute_msg=_cut(text(payload.get("execute_msg"))),
    )


def text(value: object) -> str | None:
    """Returns None for an empty or non-string value: a bad display field must not delay the end of a job."""
    if not isinstance(value, str) or not value:
        return None
    # JSON can escape half a surrogate pair, which UTF-8 cannot encode.
    return value.encode(errors="replace").decode()


def first_text(payload: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Returns the first non-empty text among several names of one field."""
    return next((found for name in names if (found := text(payload.get(name)))), None)


def header_value(value: str | None) -> str | None:
    """Returns None for a missing value and for one that a header cannot carry."""
    return value if value and HEADER_VALUE.fullmatch(value) else None


def _number(value: object) -> int | None:
    # Not isinstance: bool is a subclass of int, so `true` would be a status of 1.
    return value if type(value) is int else None


def _cut(message: str | None) -> str | None:
    return message and message.encode()[:EXECUTE_MSG_BYTES].decode(errors="ignore")
