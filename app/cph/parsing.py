"""What CPH says of a job: JSON in, a record out. Parsed here, trusted everywhere else."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import Unavailable
from app.domain.job import Job, JobState
from app.transport.client import Reply

# All that is documented. Any other status is a job that still runs: callers log and count `job.status not in STATES`.
STATES: Mapping[int | None, JobState] = {1: JobState.RUNNING, 2: JobState.SUCCEEDED, -1: JobState.FAILED}
EXECUTE_MSG_BYTES = 1024
SERVER_ID = ("server_id", "encode_server_id", "node_id")  # answers of an older CPH have the later ones
HEADER_VALUE = re.compile(r"[!-~]+")


class Nonsense(Unavailable):
    """An answer that cannot be about what was asked."""


def read_object(reply: Reply) -> dict[str, Any]:
    """Empty for what is no whole JSON object: a gateway's HTML, half an answer, nonsense."""
    if reply.truncated:
        return {}
    try:
        payload = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def read_job(payload: object, asked: str) -> Job:
    """The job with the id `asked`. Raises Nonsense when the payload is no job, or another one."""
    if not isinstance(payload, dict):
        raise Nonsense("the answer is not a JSON object")
    if payload.get("job_id") != asked:
        raise Nonsense("the answer is about another job")
    return job_from(payload, asked)


def job_from(payload: Mapping[str, Any], job_id: str | None) -> Job:
    """All but the id, which callers have judged; None where CPH gave none."""
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
    """None for what is empty, and for what is no text: a field for show must not hold back the end of a job."""
    if not isinstance(value, str) or not value:
        return None
    # JSON can escape half a surrogate pair, which no UTF-8 can carry any further.
    return value.encode(errors="replace").decode()


def first_text(payload: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """For a field that goes by several names."""
    return next((found for name in names if (found := text(payload.get(name)))), None)


def header_value(value: str | None) -> str | None:
    """None for what is missing, and for what no header can carry."""
    return value if value and HEADER_VALUE.fullmatch(value) else None


def _number(value: object) -> int | None:
    # Not isinstance: `true` is an int to Python, and would be a status of 1.
    return value if type(value) is int else None


def _cut(message: str | None) -> str | None:
    return message and message.encode()[:EXECUTE_MSG_BYTES].decode(errors="ignore")
