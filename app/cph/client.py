"""Asking CPH about jobs. Whatever the cloud does, the answer is a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

from app import VERSION
from app.cph.credentials import Credentials, NoCredentials, Request
from app.cph.reading import Nonsense, read_job, read_object
from app.cph.refusal import Kind, Refusal, Throttle, read_refusal
from app.domain.job import Job
from app.transport.client import Transport
from app.transport.unreachable import Unreachable

HEADERS = {"Accept": "application/json", "User-Agent": f"cph-webhook-bridge/{VERSION}"}


@dataclass(frozen=True, slots=True)
class Answered:
    job: Job


@dataclass(frozen=True, slots=True)
class Unknown:
    """CPH does not have the job: not yet, or not any more."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nothing was learnt.

    pause: how long to ask nothing of the whole project; None when only this job must wait.
    throttled: we asked too often; with what CPH says of the budget.
    unauthenticated: we were turned away, and renewing the credentials did not help: an operator must act.
    """

    reason: str
    pause: timedelta | None = None
    throttled: Throttle | None = None
    unauthenticated: bool = field(default=False, kw_only=True)


Outcome = Answered | Unknown | Unanswered


def cph_endpoint(region: str) -> str:
    return f"https://cph.{region}.myhuaweicloud.com"


class CphClient:
    """For one CPH project, for use by many threads. deadline: for each HTTP call, of which `show_job` may make two."""

    def __init__(
        self, *, transport: Transport, endpoint: str, project_id: str, credentials: Credentials, deadline: timedelta
    ) -> None:
        self._transport = transport
        self._jobs = f"{endpoint.rstrip('/')}/v1/{quote(project_id, safe='')}/cloud-phone/jobs"
        self._credentials = credentials
        self._deadline = deadline

    def show_job(self, job_id: str) -> Outcome:
        request = Request("GET", f"{self._jobs}/{quote(job_id, safe='')}", HEADERS)
        try:
            answer = self._ask(request, job_id)
        except NoCredentials as error:
            return Unanswered(str(error), error.pause, unauthenticated=error.refused)
        except (Unreachable, Nonsense) as error:
            return Unanswered(str(error))
        match answer:
            case Job() as job:
                return Answered(job)
            case Refusal(kind=Kind.NO_SUCH_JOB):
                return Unknown()
            case refusal:
                return Unanswered(
                    str(refusal), refusal.pause, refusal.throttle, unauthenticated=refusal.unauthenticated
                )

    def _ask(self, request: Request, job_id: str) -> Job | Refusal:
        """Once more with other credentials, if there are any, when the first were refused; never a third time."""
        headers = self._credentials.authorise(request)
        answer = self._send(request, headers, job_id)
        if isinstance(answer, Job) or answer.kind is not Kind.UNAUTHENTICATED:
            return answer
        if not self._credentials.refused(headers):
            return answer
        return self._send(request, self._credentials.authorise(request), job_id)

    def _send(self, request: Request, headers: Mapping[str, str], job_id: str) -> Job | Refusal:
        reply = self._transport.send(request.method, request.url, headers=headers, deadline=self._deadline)
        if reply.status == 200:
            payload = read_object(reply)
            # Of a job, `error_code` says why it failed; without one, why there is none.
            if payload.get("job_id"):
                return read_job(payload, job_id)
        return read_refusal(reply, secrets=headers.values())
