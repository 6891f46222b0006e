"""Asking CPH about jobs. Whatever the cloud does, the answer is a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from app import VERSION
from app.cph.credentials import Credentials, Expiring, NoCredentials, Request
from app.cph.reading import Nonsense, read_job, read_object
from app.cph.refusal import Kind, Refusal, read_refusal
from app.cph.server_clock import ServerClock
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
    """Nothing was learnt. pause: how long to ask nothing of the whole project; None when only this job must wait.

    unauthenticated: an operator must act on the credentials or their rights.
    """

    reason: str
    pause: timedelta | None = None
    unauthenticated: bool = field(default=False, kw_only=True)


Outcome = Answered | Unknown | Unanswered


def cph_endpoint(region: str) -> str:
    return f"https://cph.{region}.myhuaweicloud.com"


class CphClient:
    """For one CPH project, for use by many threads. deadline: for each HTTP call, of which `show_job` may make two."""

    def __init__(
        self,
        *,
        transport: Transport,
        endpoint: str,
        project_id: str,
        credentials: Credentials,
        deadline: timedelta,
        server_clock: ServerClock | None = None,
    ) -> None:
        self._transport = transport
        self._jobs = f"{endpoint.rstrip('/')}/v1/{quote(project_id, safe='')}/cloud-phone/jobs"
        self._credentials = credentials
        self._deadline = deadline
        self._server_clock = server_clock

    @property
    def clock_ahead(self) -> timedelta | None:
        """How much later it is by CPH's clock than by ours; None if nobody knows."""
        return self._server_clock.ahead if self._server_clock else None

    @property
    def credentials_expire_at(self) -> datetime | None:
        return self._credentials.expires_at if isinstance(self._credentials, Expiring) else None

    def show_job(self, job_id: str) -> Outcome:
        request = Request("GET", f"{self._jobs}/{quote(job_id, safe='')}", HEADERS)
        try:
            answer = self._ask(request, job_id)
        except NoCredentials as error:
            return Unanswered(str(error), error.pause)
        except (Unreachable, Nonsense) as error:
            return Unanswered(str(error))
        match answer:
            case Job() as job:
                return Answered(job)
            case Refusal(kind=Kind.NO_SUCH_JOB):
                return Unknown()
            case refusal:
                return Unanswered(str(refusal), refusal.pause)

    def _ask(self, request: Request, job_id: str) -> Job | Refusal:
        """Once more with other credentials, if there are any, when the first were refused; never a third time."""
        headers = self._credentials.authorise(request)
        answer = self._send(request, headers, job_id)
        if isinstance(answer, Job) or answer.kind is not Kind.UNAUTHENTICATED:
            return answer
        self._credentials.refused(headers)
        others = self._credentials.authorise(request)
        return answer if others == headers else self._send(request, others, job_id)

    def _send(self, request: Request, headers: Mapping[str, str], job_id: str) -> Job | Refusal:
        reply = self._transport.send(request.method, request.url, headers=headers, deadline=self._deadline)
        if self._server_clock:
            self._server_clock.see(reply)
        if reply.status == 200:
            payload = read_object(reply)
            # Of a job, `error_code` says why it failed; without one, why there is none.
            if payload.get("job_id"):
                return read_job(payload, job_id)
        return read_refusal(reply, secrets=headers.values())
