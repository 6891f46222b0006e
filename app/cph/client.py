"""Asks CPH about jobs. Every failure of CPH or IAM is returned as a value."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from app.cph.credentials import CphRequest, Credentials, Expiring, NoCredentials
from app.cph.errors import CphRefusal, RefusalKind, Throttle, read_refusal
from app.cph.parsing import UnexpectedAnswer, read_job, read_object
from app.cph.server_clock import ServerClock
from app.domain.job import Job
from app.transport.client import Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

REQUESTS_AT_ONCE = 20  # limit of ListJobs
JOBS_A_PAGE = 100
PAGES_AT_ONCE = 100  # calls are charged to the rate limit only after they are made
RUNNING = 1

JOB_BYTES = 64 * 1024
PAGE_BYTES = 1024 * 1024

T = TypeVar("T")
Read = Callable[[dict[str, Any]], T | None]

HEADERS = {"Accept": "application/json", "User-Agent": f"cph-webhook-bridge/{VERSION}"}


@dataclass(frozen=True, slots=True)
class Answered:
    job: Job


@dataclass(frozen=True, slots=True)
class Unknown:
    """CPH does not have the job yet, or no longer has it."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The call failed and says nothing about the job.

    pause: how long to pause the whole project; None if only this job must wait.
    throttled: the rate limit was exceeded; with what CPH reports of the limit.
    unauthenticated: CPH or the issuer rejects us, and renewing the credentials did not help: an operator must act.
    unreachable: CPH or the issuer sent no response.
    """

    reason: str
    pause: timedelta | None = None
    throttled: Throttle | None = None
    unauthenticated: bool = field(default=False, kw_only=True)
    unreachable: bool = field(default=False, kw_only=True)


Outcome = Answered | Unknown | Unanswered


@dataclass(frozen=True, slots=True)
class Listed:
    """All jobs of some requests; if `cut`, only those of the pages that were read.

    running: job ids, as a running job has no further data. calls: one for each page read. failure: the failed call
    that ended the listing; None if it was only too long to read at once.
    """

    running: frozenset[str]
    ended: tuple[Job, ...]
    calls: int
    cut: bool = False
    failure: Unanswered | None = None


@dataclass(frozen=True, slots=True)
class NoSuchRequest:
    """CPH has no jobs for one of the requests and does not say which: list each separately."""


@dataclass(frozen=True, slots=True)
class MayNotList:
    """The permission `cph:jobs:list` is missing, or this endpoint has no ListJobs; ShowJob still works."""

    reason: str


Listing = Listed | NoSuchRequest | MayNotList | Unanswered


class CphClient:
    """A client of one CPH project. Thread-safe. deadline: for each HTTP call, of which `show_job` may make two."""

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
        """CPH's clock minus ours; None if unknown."""
        return self._server_clock.ahead if self._server_clock else None

    @property
    def credentials_expire_at(self) -> datetime | None:
        return self._credentials.expires_at if isinstance(self._credentials, Expiring) else None

    def show_job(self, job_id: str) -> Outcome:
        answer = self._answer(f"/{quote(job_id, safe='')}", lambda payload: _job(payload, job_id))
        match answer:
            case Job() as job:
                return Answered(job)
            case CphRefusal(kind=RefusalKind.NO_SUCH_JOB):
                return Unknown()
            case CphRefusal() as refusal:
                return _unanswered(refusal)
            case unanswered:
                return unanswered

    def list_jobs(
        self,
        request_ids: Sequence[str],
        enough: Set[str] | None = None,
        *,
        first_page: int = 0,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> Listing:
        """Lists the jobs of up to REQUESTS_AT_ONCE requests, page by page until one is not full or shows nothing new.

        enough: job ids; stops once all were seen, as a full page may be the last. first_page: where to resume a
        listing that was cut. may_go_on: called before each further page; False cuts the listing.
        """
        running: set[str] = set()
        ended: dict[str, Job] = {}
        calls = 0

        def listed(*, cut: bool = False, failure: Unanswered | None = None) -> Listed:
            return Listed(frozenset(running - ended.keys()), tuple(ended.values()), calls, cut, failure)

        while True:
            answer = self._page(request_ids, first_page + calls)
            match answer:
                case list():
                    calls += 1
                case NoSuchRequest() if calls:
                    return listed()  # past the last page, where CPH's response is undocumented
                case Unanswered() if calls:
                    return listed(cut=True, failure=answer)
                case _:
                    return answer
            # A page without anything new: this endpoint may not support paging.
            new = _sort(answer, running, ended)
            if len(answer) < JOBS_A_PAGE or not new or (enough and _seen(enough, running, ended)):
                return listed()
            if calls == PAGES_AT_ONCE or not may_go_on():
                return listed(cut=True)

    def _page(self, request_ids: Sequence[str], page: int) -> list[Any] | NoSuchRequest | MayNotList | Unanswered:
        ids = quote(",".join(request_ids), safe="")
        query = f"?request_ids={ids}&offset={page * JOBS_A_PAGE}&limit={JOBS_A_PAGE}"
        match self._answer(query, _jobs, max_bytes=PAGE_BYTES):
            case CphRefusal(kind=RefusalKind.NO_SUCH_REQUEST):
                return NoSuchRequest()
            case (
                CphRefusal(kind=RefusalKind.FORBIDDEN)
                | CphRefusal(kind=RefusalKind.OTHER, status=403 | 404 | 405) as refusal
            ):
                return MayNotList(str(refusal))
            case CphRefusal() as refusal:
                return _unanswered(refusal)
            case answer:
                return answer

    def _answer(self, path: str, read: Read[T], max_bytes: int = JOB_BYTES) -> T | CphRefusal | Unanswered:
        request = CphRequest("GET", self._jobs + path, HEADERS)
        try:
            return self._ask(request, read, max_bytes)
        except NoCredentials as error:
            return Unanswered(
                str(error), error.pause, unauthenticated=error.refused, unreachable=error.issuer_unreachable
            )
        except Unreachable as error:
            return Unanswered(str(error), unreachable=True)
        except UnexpectedAnswer as error:
            return Unanswered(str(error))

    def _ask(self, request: CphRequest, read: Read[T], max_bytes: int) -> T | CphRefusal:
        """Retries once with renewed credentials, if there are any, when the first were refused."""
        headers = self._credentials.authorise(request)
        answer = self._send(request, headers, read, max_bytes)
        if not isinstance(answer, CphRefusal) or answer.kind is not RefusalKind.UNAUTHENTICATED:
            return answer
        if not self._credentials.renew_refused(headers):
            return answer
        return self._send(request, self._credentials.authorise(request), read, max_bytes)

    def _send(self, request: CphRequest, headers: Mapping[str, str], read: Read[T], max_bytes: int) -> T | CphRefusal:
        reply = self._transport.send(
            request.method, request.url, headers=headers, deadline=self._deadline, max_bytes=max_bytes
        )
        if self._server_clock:
            self._server_clock.observe(reply)
        parsed = read(read_object(reply)) if reply.status == 200 else None
        return read_refusal(reply, secrets=headers.values()) if parsed is None else parsed


def _unanswered(refusal: CphRefusal) -> Unanswered:
    return Unanswered(str(refusal), refusal.pause, refusal.throttle, unauthenticated=refusal.unauthenticated)


def _job(payload: dict[str, Any], job_id: str) -> Job | None:
    """None without a job_id: `error_code` then explains the error response, otherwise the job's failure."""
    return read_job(payload, job_id) if payload.get("job_id") else None


def _jobs(payload: dict[str, Any]) -> list[Any] | None:
    jobs = payload.get("jobs")
    return jobs if isinstance(jobs, list) else None


def _seen(jobs: Set[str], running: Set[str], ended: Mapping[str, Job]) -> bool:
    return len(jobs) <= len(running) + len(ended) and jobs <= running | ended.keys()


def _sort(jobs: list[Any], running: set[str], ended: dict[str, Job]) -> bool:
    """Adds each job to `running` or `ended`. Returns whether any was new.

    Invalid items are skipped: a job that is missing from its request's list is polled by its id.
    """
    known = len(running) + len(ended)
    for payload in jobs:
        job_id = payload.get("job_id") if isinstance(payload, dict) else None
        if not isinstance(job_id, str):
            continue
        job = read_job(payload, job_id) if payload.get("status") != RUNNING else None
        if job and job.state.ended:
            ended.setdefault(job_id, job)
        else:
            running.add(job_id)
    return len(running) + len(ended) > known
