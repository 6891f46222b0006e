"""CPH's answer to a call that starts jobs, as callers hand it over: what to watch, and which ends it tells itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.cph.parsing import first_text, job_from, text
from app.domain.errors import InvalidField
from app.domain.job import Job, JobState

POINTER = "/submission"
JOBS_AT_MOST = 1_000  # as many as a registration takes
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# As CPH, its gateway and IAM write them. Only what looks so is repeated to the caller.
CODE = re.compile(r"[A-Za-z]{0,16}\.?[0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Submission:
    """request_id: None if the answer names none. job_ids: to be watched. ended: jobs whose end the answer itself tells
    (refused at once, or a synchronous command's results); their job_id is None where CPH gave none.
    """

    request_id: str | None
    job_ids: tuple[str, ...]
    ended: tuple[Job, ...]


def read_submission(payload: Mapping[str, Any]) -> Submission:
    """At least one job, each once. InvalidField for an answer without, and for one that cannot be read whole."""
    request_id = _id(payload, "request_id", POINTER)
    jobs = {pointer: replace(_job(item, pointer), request_id=request_id) for pointer, item in _items(payload)}
    if not jobs:
        raise _without_jobs(payload)
    ended = {job.job_id or pointer: job for pointer, job in jobs.items() if job.state.ended}
    watched = dict.fromkeys(job.job_id for job in jobs.values() if job.job_id and job.job_id not in ended)
    return Submission(request_id, tuple(watched), tuple(ended.values()))


def _items(payload: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What tells of one job, and its pointer: the items of `jobs`; the answer itself, if it names a job."""
    jobs = payload.get("jobs") or []
    if not isinstance(jobs, list):
        raise InvalidField(f"{POINTER}/jobs", "must be a list")
    if len(jobs) > JOBS_AT_MOST:
        raise InvalidField(f"{POINTER}/jobs", f"holds more than {JOBS_AT_MOST:,} jobs", "register by request_id")
    for place, item in enumerate(jobs):
        pointer = f"{POINTER}/jobs/{place}"
        if not isinstance(item, dict):
            raise InvalidField(pointer, "must be an object")
        yield pointer, item
    if payload.get("job_id"):
        yield POINTER, payload


def _job(item: Mapping[str, Any], pointer: str) -> Job:
    """One that has not ended is to be watched, so it has an id."""
    job_id = _id(item, "job_id", pointer)
    job = job_from(item, job_id)
    # With an id CPH has taken the job, whatever `error_code` says: its end will tell.
    if job_id or job.state.ended:
        return job
    if job.error_code:
        return replace(job, state=JobState.FAILED)
    raise InvalidField(pointer, "has no job_id to watch, no error_code and no status that is an end")


def _id(payload: Mapping[str, Any], name: str, pointer: str) -> str | None:
    value = payload.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise InvalidField(f"{pointer}/{name}", "must be 1 to 128 letters, digits, _ or -")
    return value


def _without_jobs(payload: Mapping[str, Any]) -> InvalidField:
    error = payload.get("error")
    if isinstance(error, dict):  # IAM's shape
        return _refused("error", first_text(error, ("error_code", "code")))
    if code := text(payload.get("error_code")):
        return _refused("error_code", code)
    if payload.get("order_id"):
        return InvalidField(
            f"{POINTER}/order_id",
            "an order is not a job: there is nothing to watch",
            "ask for the order, or register by job_id when there is a job",
        )
    return InvalidField(
        f"{POINTER}/jobs", "names no job: there is nothing to watch", "hand over CPH's answer as it came, and whole"
    )


def _refused(field: str, code: str | None) -> InvalidField:
    named = f" ({code})" if code and CODE.fullmatch(code) else ""
    return InvalidField(
        f"{POINTER}/{field}",
        f"CPH refused the call itself{named}: it started no job",
        "mend the call, make it again, and hand over the answer to that",
    )
