"""Parses CPH's JSON into records. Other modules trust the result."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain import foreign_json
from app.domain.errors import Unavailable
from app.domain.foreign_json import exact_text, integer, text
from app.domain.job import Job, JobState
from app.transport.client import Reply

# All documented statuses. Any other counts as running: callers log and count `job.status not in STATES`.
STATES: Mapping[int | None, JobState] = {1: JobState.RUNNING, 2: JobState.SUCCEEDED, -1: JobState.FAILED}
MESSAGE_BYTES = 1024  # CPH's limit of `execute_msg`
SHORT_BYTES = 128  # ids, codes and times
SERVER_ID = ("server_id", "encode_server_id", "node_id")  # an older CPH sends the second or third
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # as in registrations
HEADER_VALUE = re.compile(r"[!-~]+")


class UnexpectedAnswer(Unavailable):
    """The response cannot be read, or does not match the request. The text never quotes it."""


def read_object(reply: Reply) -> dict[str, Any]:
    """Returns what can be read of the body's JSON object; empty if there is none, such as in a gateway's HTML."""
    return foreign_json.read_object(reply.body)


def is_refusal(payload: Mapping[str, Any]) -> bool:
    """True for an error response, even one with status 200. In an answer about a job, `error_code` is the job's."""
    about_job = any(payload.get(name) not in (None, "") for name in ("job_id", "status"))
    return not about_job and (bool(exact_text(payload.get("error_code"))) or isinstance(payload.get("error"), dict))


def not_an_object(reply: Reply) -> UnexpectedAnswer:
    """Returns the error for a body of which no JSON object can be read."""
    start = reply.body.lstrip()[:1]
    kind = "it is empty" if not start else "it is a web page" if start == b"<" else "it is not a JSON object"
    return UnexpectedAnswer(kind)


def read_job(payload: object, job_id: str) -> Job:
    """Returns the job. Raises UnexpectedAnswer if the payload is no object, or its job_id cannot be read or differs."""
    if not isinstance(payload, dict):
        raise UnexpectedAnswer("the answer is not a JSON object")
    named = exact_text(payload.get("job_id"))
    if named is None:
        raise UnexpectedAnswer("its job_id is missing or cannot be read")
    # CPH's ids are hexadecimal: their letter case means nothing.
    if named.casefold() != job_id.casefold():
        raise UnexpectedAnswer("the answer is about another job")
    return job_from(payload, job_id)


def job_from(payload: Mapping[str, Any], job_id: str | None) -> Job:
    """Returns the job. job_id: validated by the caller; None if CPH sent none. status: None if it cannot be read."""
    status = integer(payload.get("status"))
    return Job(
        job_id=job_id,
        state=STATES.get(status, JobState.RUNNING),
        status=status,
        request_id=read_id(payload.get("request_id")),
        phone_id=_cut(text(payload.get("phone_id")), SHORT_BYTES),
        server_id=_cut(first_text(payload, SERVER_ID), SHORT_BYTES),
        begin_time=_cut(text(payload.get("begin_time")), SHORT_BYTES),
        end_time=_cut(text(payload.get("end_time")), SHORT_BYTES),
        error_code=_cut(exact_text(payload.get("error_code")), SHORT_BYTES),
        error_msg=_cut(text(payload.get("error_msg")), MESSAGE_BYTES),
        execute_msg=_cut(text(payload.get("execute_msg")), MESSAGE_BYTES),
    )


def read_id(value: object) -> str | None:
    """Returns the id of a job or a request; None if it cannot be read, or is one that no registration can name."""
    found = exact_text(value)
    return found if found and ID.fullmatch(found) else None


def first_text(payload: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Returns the first readable text among several names of one field."""
    return next((found for name in names if (found := exact_text(payload.get(name)))), None)


def header_value(value: str | None) -> str | None:
    """Returns None for a missing value and for one that a header cannot carry."""
    return value if value and HEADER_VALUE.fullmatch(value) else None


def _cut(value: str | None, max_bytes: int) -> str | None:
    return value and value.encode()[:max_bytes].decode(errors="ignore")
