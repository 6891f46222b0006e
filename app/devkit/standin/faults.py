"""Faults on demand: what CPH, its gateway or the network may answer instead."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Set
from enum import StrEnum
from threading import Lock

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.devkit.serving import json_answer
from app.devkit.standin.refusal import Refusal, new_id

UNSEEN_STATUS = 7


class Kind(StrEnum):
    THROTTLE = "throttle"
    ERROR_500 = "error_500"
    UNAUTHORIZED = "unauthorized"
    HTML = "html"
    GARBAGE = "garbage"
    ENDLESS = "endless"
    TRUNCATED = "truncated"
    SLOW = "slow"
    DRIP = "drip"
    WRONG_JOB_ID = "wrong_job_id"
    UNKNOWN_STATUS = "unknown_status"


class Fault(BaseModel):
    """times: how many calls it spoils; null: every one until cleared. seconds: how long `slow` and `drip` take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    times: int | None = Field(default=1, ge=1)
    job_id: str | None = None
    seconds: float = Field(default=5.0, ge=0)

    def left(self) -> "list[Fault]":
        """What remains of it after one call."""
        if self.times is None:
            return [self]
        return [self.model_copy(update={"times": self.times - 1})] if self.times > 1 else []


class Faults:
    """In the order in which they came; the first that fits a call spoils it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, job_ids: Set[str]) -> Fault | None:
        """For a call about these jobs."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.job_id is None or fault.job_id in job_ids:
                    self._faults[index : index + 1] = fault.left()
                    return fault
        return None


def spoiled(fault: Fault | None, answer: Callable[[], Response]) -> Response:
    """The good answer, or what the fault makes of it."""
    if fault is None:
        return answer()
    if fault.kind in REFUSALS:
        raise Refusal(*REFUSALS[fault.kind])
    if fault.kind in NONSENSE:
        return NONSENSE[fault.kind]()
    return DAMAGE[fault.kind](answer(), fault)


def _html() -> Response:
    return Response("<html><body><h1>Service maintenance</h1></body></html>", mimetype="text/html")


def _garbage() -> Response:
    return Response(b'\xff\xfe{"status": 2,,', mimetype="application/json")


def _endless() -> Response:
    flood = itertools.chain([b'{"execute_msg": "'], itertools.repeat(b"x" * 65536))
    return Response(flood, mimetype="application/json")


def _truncated(answer: Response, _: Fault) -> Response:
    whole = answer.get_data()
    cut = Response(whole[: len(whole) // 2], mimetype="application/json", headers={"Connection": "close"})
    cut.content_length = len(whole)
    return cut


def _slow(answer: Response, fault: Fault) -> Response:
    time.sleep(fault.seconds)
    return answer


def _drip(answer: Response, fault: Fault) -> Response:
    whole = answer.get_data()

    def drops() -> Iterator[bytes]:
        for byte in whole:
            time.sleep(fault.seconds / len(whole))
            yield bytes([byte])

    dripping = Response(drops(), mimetype="application/json")
    dripping.content_length = len(whole)
    return dripping


def _wrong_job_id(answer: Response, fault: Fault) -> Response:
    return _with_jobs_changed(answer, fault, {"job_id": new_id()})


def _unknown_status(answer: Response, fault: Fault) -> Response:
    return _with_jobs_changed(answer, fault, {"status": UNSEEN_STATUS})


def _with_jobs_changed(answer: Response, fault: Fault, change: dict[str, object]) -> Response:
    body = json.loads(answer.get_data())
    for job in body.get("jobs", [body]):
        if fault.job_id in (None, job["job_id"]):
            job.update(change)
    return json_answer(body)


REFUSALS = {
    Kind.THROTTLE: (
        429,
        "APIGW.0308",
        "The throttling threshold has been reached: policy api over ratelimit,limit:10,time:1 minute",
    ),
    Kind.ERROR_500: (500, "CPS.0003", "Internal error."),
    Kind.UNAUTHORIZED: (401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail"),
}
NONSENSE = {Kind.HTML: _html, Kind.GARBAGE: _garbage, Kind.ENDLESS: _endless}
DAMAGE = {
    Kind.TRUNCATED: _truncated,
    Kind.SLOW: _slow,
    Kind.DRIP: _drip,
    Kind.WRONG_JOB_ID: _wrong_job_id,
    Kind.UNKNOWN_STATUS: _unknown_status,
}
