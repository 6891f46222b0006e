"""Parses CPH's response to a call that starts jobs: which jobs to watch, and which have already ended."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.cph.parsing import first_text, job_from
from app.domain.errors import InvalidField
from app.domain.foreign_json import text
from app.domain.job import Job, JobState

POINTER = "/submission"
MAX_JOBS = 1_000  # the limit of a registration
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
MIGRATED = ("source_phone_id", "target_phone_id")  # a migration names its phones so
ORDER = ("order_id", "product_id", "server_ids")
# The codes of CPH, its gateway and IAM. Only a match is repeated to the caller.
CODE = re.compile(r"[A-Za-z]{0,16}\.?[0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Submission:
    """request_id: None if the response has none. job_ids: jobs to watch. ended: jobs whose end is in the response
    (rejected at once, or results of a synchronous command); their job_id is None if CPH sent none.
    """

    request_id: str | None
    job_ids: tuple[str, ...]
    ended: tuple[Job, ...]


def read_submission(payload: Mapping[str, Any]) -> Submission:
    """Returns at least one job, each once. Raises InvalidField if there is none or any part is invalid."""
    request_id = _id(payload, "request_id", POINTER)
    jobs = {pointer: replace(_job(item, pointer), request_id=request_id) for pointer, item in _items(payload)}
    if not jobs:
        raise _without_jobs(payload)
    ended = {job.job_id or pointer: job for pointer, job in jobs.items() if job.state.ended}
    watched = dict.fromkeys(job.job_id for job in jobs.values() if job.job_id and job.job_id not in ended)
    return Submission(request_id, tuple(watched), tuple(ended.values()))


def _items(payload: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (JSON pointer, job object): each item of `jobs`, and the response itself if it has a job_id."""
    jobs = payload.get("jobs") or []
    if isinstance(jobs, dict):
        jobs = [jobs]
    if not isinstance(jobs, list):
        raise InvalidField(f"{POINTER}/jobs", "must be a list")
    if len(jobs) > MAX_JOBS:
        raise InvalidField(
            f"{POINTER}/jobs",
            f"holds more than {MAX_JOBS:,} jobs",
            f"register several times, each with the request_id and up to {MAX_JOBS:,} other items of `jobs`;"
            " a registration by request_id alone would not report the items that CPH refused",
        )
    for index, item in enumerate(jobs):
        pointer = f"{POINTER}/jobs/{index}"
        if not isinstance(item, dict):
            raise InvalidField(pointer, "must be an object")
        yield pointer, item
    if payload.get("job_id"):
        yield POINTER, payload


def _job(item: Mapping[str, Any], pointer: str) -> Job:
    """Parses one job. Raises InvalidField if it has not ended and has no id to watch it by."""
    job_id = _id(item, "job_id", pointer)
    job = job_from(item, job_id)
    job = replace(job, phone_id=job.phone_id or first_text(item, MIGRATED))
    # A job with an id was accepted, even if `error_code` is set: polling will show its end.
    if job_id or job.state.ended:
        return job
    if job.error_code:
        return replace(job, state=JobState.FAILED)
    raise InvalidField(pointer, "has no job_id to watch, no error_code and no final status")


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
    if order := next((field for field in ORDER if payload.get(field)), None):
        return InvalidField(
            f"{POINTER}/{order}",
            "an order starts no job that CPH names: there is nothing to watch",
            "follow the order in CPH's console or API; what can be watched are calls whose answer has `job_id` or"
            " `jobs`, such as a restart of the servers once they exist",
        )
    return InvalidField(
        f"{POINTER}/jobs", "names no job: there is nothing to watch", "pass CPH's complete, unmodified answer"
    )


def _refused(field: str, code: str | None) -> InvalidField:
    named = f" ({code})" if code and CODE.fullmatch(code) else ""
    return InvalidField(
        f"{POINTER}/{field}",
        f"CPH refused the call itself{named}: it started no job",
        "correct and repeat the call, then pass its answer",
    )
