"""Shortens events for receivers that refuse large bodies: texts go first, then jobs of a group."""

from collections.abc import Callable, Mapping
from typing import Any

from app.domain.wire import to_json

# A receiver does not say how much it takes. Many take 64 KiB or 100 kB; below 32 KiB an event hardly needs to be cut.
MAX_BYTES = 32 * 1024
TEXTS = ("error_msg", "execute_msg")

Data = Mapping[str, Any]


def cut(data: Data, encode: Callable[[Data], bytes]) -> bytes | None:
    """Returns the event with shorter `data`; None if there is nothing to cut.

    encode: returns the event with this data. Ids, states and counts stay, and so do the first jobs, which did not
    succeed.
    """
    full = encode(data)
    room = MAX_BYTES if len(full) > MAX_BYTES else len(full) // 2
    body = encode(_without_texts(data))
    if len(body) > room and "jobs" in data:
        body = encode(_with_fewer_jobs(_without_texts(data), len(body) - room))
    return body if len(body) < len(full) else None


def _without_texts(data: Data) -> Data:
    if "job" in data:
        return {**data, "job": _without_text(data["job"]), "truncated": True}
    if "jobs" in data:
        return {**data, "jobs": [_without_text(job) for job in data["jobs"]], "truncated": True}
    return data


def _without_text(job: Data) -> Data:
    return {name: None if name in TEXTS else value for name, value in job.items()}


def _with_fewer_jobs(data: Data, excess: int) -> Data:
    """excess: bytes to save."""
    jobs = list(data["jobs"])
    while jobs and excess > 0:
        excess -= len(to_json(jobs.pop()).encode()) + 1
    return {**data, "jobs": jobs}
