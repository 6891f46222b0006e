"""Faults on demand: bad answers of CPH, its gateway or the network."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.devkit.standin.calls import CPH, ApiName
from app.devkit.standin.damage import AnswerDamage, damaged
from app.devkit.standin.gateway_codes import GatewayCode, gateway_refusal
from app.devkit.standin.refusal import CallRefused, new_id

UNDOCUMENTED_STATUS = 7


class FaultKind(StrEnum):
    THROTTLE = "throttle"
    ERROR_500 = "error_500"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    IAM_UNAVAILABLE = "iam_unavailable"
    HTML = "html"
    GARBAGE = "garbage"
    ENDLESS = "endless"
    TRUNCATED = "truncated"
    SLOW = "slow"
    DRIP = "drip"
    WRONG_JOB_ID = "wrong_job_id"
    UNKNOWN_STATUS = "unknown_status"
    DAMAGED = "damaged"
    GATEWAY = "gateway"
    OFFSET_REFUSED = "offset_refused"


class Fault(BaseModel):
    """A fault as ordered.

    times: how many calls it affects; default 1; null, and the default with `for_s`: all. seconds: how long `slow` and
    `drip` take. api: affects only this API; null: all CPH APIs. after_s, for_s: its start and duration in seconds.
    damage: for `damaged`, which affects only job_id; null: each job of the answer. code: for `gateway`.
    `offset_refused`: ListJobs refuses an offset behind the last job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    api: ApiName | None = None
    job_id: str | None = None
    after_s: float = Field(default=0.0, ge=0)
    for_s: float | None = Field(default=None, gt=0)
    times: int | None = Field(default_factory=lambda fields: None if fields.get("for_s") else 1, ge=1)
    seconds: float = Field(default=5.0, ge=0)
    damage: AnswerDamage = AnswerDamage.CUT_CHARACTER
    code: GatewayCode = "APIGW.0802"

    def concerns(self, api: ApiName, job_ids: Set[str]) -> bool:
        is_api = api == self.api if self.api else api in CPH
        return is_api and (self.job_id is None or self.job_id in job_ids)


@dataclass(slots=True)
class ScheduledFault:
    """A fault, its period, and how many calls it still affects (None: all)."""

    fault: Fault
    begins: datetime
    ends: datetime | None
    left: int | None

    @classmethod
    def from_now(cls, now: datetime, fault: Fault) -> "ScheduledFault":
        begins = now + timedelta(seconds=fault.after_s)
        ends = begins + timedelta(seconds=fault.for_s) if fault.for_s else None
        return cls(fault, begins, ends, fault.times)

    def is_over(self, now: datetime) -> bool:
        return self.left == 0 or (self.ends is not None and now >= self.ends)


class Faults:
    """Faults in the order of their creation; the first that matches a call affects it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._scheduled: list[ScheduledFault] = []

    def add(self, fault: Fault, now: datetime) -> None:
        with self._lock:
            self._scheduled.append(ScheduledFault.from_now(now, fault))

    def clear(self) -> None:
        with self._lock:
            self._scheduled.clear()

    def take(self, api: ApiName, now: datetime, job_ids: Set[str] = frozenset()) -> Fault | None:
        """Returns the fault for a call about these jobs, and counts it as used."""
        with self._lock:
            self._scheduled = [each for each in self._scheduled if not each.is_over(now)]
            for each in self._scheduled:
                if each.begins <= now and each.fault.concerns(api, job_ids):
                    if each.left is not None:
                        each.left -= 1
                    return each.fault
        return None


MakeAnswer = Callable[[], Response]
Refusals = Mapping[FaultKind, Callable[[], CallRefused]]


def apply_fault(fault: Fault | None, answer: MakeAnswer, refusals: Refusals) -> Response:
    """Returns the good answer, or the faulty one. refusals: the error answers of this API; they are raised."""
    if fault is None:
        return answer()
    if fault.kind is FaultKind.GATEWAY:
        raise gateway_refusal(fault.code)
    if fault.kind in refusals:
        raise refusals[fault.kind]()
    if fault.kind in REPLACEMENTS:
        return REPLACEMENTS[fault.kind]()
    return CHANGES[fault.kind](answer(), fault)


def _html() -> Response:
    return Response("<html><body><h1>Service maintenance</h1></body></html>", mimetype="text/html")


def _garbage() -> Response:
    return Response(b'\xff\xfe{"status": 2,,', mimetype="application/json")


def _endless() -> Response:
    flood = itertools.chain([b'{"execute_msg": "'], itertools.repeat(b"x" * 65536))
    return Response(flood, mimetype="application/json")


def _truncated(answer: Response, _: Fault) -> Response:
    body = answer.get_data()
    answer.set_data(body[: len(body) // 2])
    answer.content_length = len(body)
    answer.headers["Connection"] = "close"
    return answer


def _slow(answer: Response, fault: Fault) -> Response:
    time.sleep(fault.seconds)
    return answer


def _drip(answer: Response, fault: Fault) -> Response:
    body = answer.get_data()

    def drops() -> Iterator[bytes]:
        for byte in body:
            time.sleep(fault.seconds / len(body))
            yield bytes([byte])

    answer.response = drops()
    answer.content_length = len(body)
    return answer


def _wrong_job_id(answer: Response, fault: Fault) -> Response:
    return _with_jobs_changed(answer, fault, {"job_id": new_id()})


def _unknown_status(answer: Response, fault: Fault) -> Response:
    return _with_jobs_changed(answer, fault, {"status": UNDOCUMENTED_STATUS})


def _damaged(answer: Response, fault: Fault) -> Response:
    answer.set_data(damaged(answer.get_data(), fault.damage, fault.job_id))
    return answer


def _offset_refused(answer: Response, _: Fault) -> Response:
    if json.loads(answer.get_data()).get("jobs") == []:
        raise CallRefused(400, "CPS.0002", "The offset or the limit is invalid.")
    return answer


def _with_jobs_changed(answer: Response, fault: Fault, change: dict[str, object]) -> Response:
    body = json.loads(answer.get_data())
    for job in body.get("jobs", [body]):
        if fault.job_id in (None, job.get("job_id")):
            job.update(change)
    answer.set_data(json.dumps(body))
    return answer


REPLACEMENTS = {FaultKind.HTML: _html, FaultKind.GARBAGE: _garbage, FaultKind.ENDLESS: _endless}
CHANGES = {
    FaultKind.TRUNCATED: _truncated,
    FaultKind.SLOW: _slow,
    FaultKind.DRIP: _drip,
    FaultKind.WRONG_JOB_ID: _wrong_job_id,
    FaultKind.UNKNOWN_STATUS: _unknown_status,
    FaultKind.DAMAGED: _damaged,
    FaultKind.OFFSET_REFUSED: _offset_refused,
}
