"""Damaged answers: fields of a job as CPH might send them, though they are not valid JSON or not of the right type."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

PLACEHOLDER = "damage"


class AnswerDamage(StrEnum):
    CUT_CHARACTER = "cut_character"
    CONTROL_CHARACTERS = "control_characters"
    GBK = "gbk"
    LONG_MESSAGE = "long_message"
    TEXT_STATUS = "text_status"
    FLOAT_STATUS = "float_status"
    NO_STATUS = "no_status"
    DAMAGED_ID = "damaged_id"


# From a job to its changed fields; bytes go into the JSON as they are.
CHANGES: Mapping[AnswerDamage, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    # By the limit of 1,024 bytes.
    AnswerDamage.CUT_CHARACTER: lambda _: {"execute_msg": b"\xe8\xbe\x93\xe5\x87"},
    AnswerDamage.CONTROL_CHARACTERS: lambda _: {"execute_msg": b"a\tb\nc\x1b[0m\x00"},
    # The last byte of this text is a backslash, which escapes the quote behind it.
    AnswerDamage.GBK: lambda _: {"error_msg": b"\xb0\xb2\xd7\xb0\x81\x5c"},
    AnswerDamage.LONG_MESSAGE: lambda _: {"execute_msg": "y" * 100_000},
    AnswerDamage.TEXT_STATUS: lambda job: {"status": str(job["status"])},
    AnswerDamage.FLOAT_STATUS: lambda job: {"status": float(job["status"])},
    AnswerDamage.NO_STATUS: lambda _: {"status": None},
    AnswerDamage.DAMAGED_ID: lambda job: {"job_id": job["job_id"].encode() + b"\xb0"},
}


def damaged(body: bytes, damage: AnswerDamage, job_id: str | None) -> bytes:
    """Returns an answer of ShowJob or ListJobs with this job damaged; None: with all of its jobs."""
    answer = json.loads(body)
    raw: list[bytes] = []
    for job in answer.get("jobs", [answer]):
        if job_id in (None, job.get("job_id")):
            changes = CHANGES[damage](job)
            job.update({name: _placeholder(value, raw) for name, value in changes.items()})
    return _with_raw(json.dumps(answer).encode(), raw)


def _placeholder(value: object, raw: list[bytes]) -> object:
    if not isinstance(value, bytes):
        return value
    raw.append(value)
    return f"{PLACEHOLDER} {len(raw) - 1}."


def _with_raw(body: bytes, raw: Sequence[bytes]) -> bytes:
    for number, value in enumerate(raw):
        body = body.replace(f"{PLACEHOLDER} {number}.".encode(), value)
    return body
