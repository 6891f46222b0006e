"""Asks CPH about jobs. Every failure of CPH or IAM is returned as a value."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from app.cph.credentials import CphRequest, Credentials, Expiring, NoCredentials
from app.cph.errors import CHECK_ON_THE_WAY, CphRefusal, RefusalKind, Throttle, code_in, read_refusal
from app.cph.job_list import JobList, JobPage, read_further_page, read_page
from app.cph.parsing import UnexpectedAnswer, is_refusal, not_an_object, read_job, read_object
from app.cph.server_clock import ServerClock
from app.domain.job import Job
from app.transport.client import Reply, Transport
from app.transport.unreachable import Unreachable
from app.version import VERSION

REQUESTS_AT_ONCE = 20  # limit of ListJobs
JOBS_A_PAGE = 100
PAGES_AT_ONCE = 100  # calls are charged to the rate limit only after they are made
# Whatever answers every call in CPH's place, such as a login page, may be gone again as soon.
CHECK_AGAIN = timedelta(seconds=10)
UNKNOWN_JOB_ID = "0" * 32  # of the right form, but no job has it
# Codes of a refused offset, without their dot. CPH's official text until 2023: an offset must be less than the number
# of resources.
PAST_THE_END = frozenset({"CPS0002", "CPS0049", "CPS0050"})

# A job has some 3 KiB by CPH's own limits. A poll worker reads at most 64 answers at once.
JOB_BYTES = 1024 * 1024
PAGE_BYTES = 2 * 1024 * 1024

T = TypeVar("T")
Read = Callable[[Reply], T | None]  # None: an error response

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
    permanent: repeating it will not help. It may concern only this call; if all calls fail so, an operator must act.
    presumed: no code says so, but all calls are answered like this one.
    unreachable: CPH or the issuer sent no response. unreadable: CPH sent a response that cannot be read.
    error_code: such as "APIGW.0802" or "HTTP 502"; None without a response. remedy: what an operator should do.
    """

    reason: str
    pause: timedelta | None = None
    throttled: Throttle | None = None
    unauthenticated: bool = field(default=False, kw_only=True)
    unreachable: bool = field(default=False, kw_only=True)
    unreadable: bool = field(default=False, kw_only=True, compare=False)
    presumed: bool = field(default=False, kw_only=True, compare=False)
    permanent: bool = field(default=False, kw_only=True, compare=False)
    error_code: str | None = field(default=None, kw_only=True, compare=False)
    remedy: str | None = field(default=None, kw_only=True, compare=False)

    @property
    def project_refused(self) -> "Unanswered":
        """Returns this answer as the trouble of the project, once all calls are answered like it."""
        return replace(
            self, pause=CHECK_AGAIN, unauthenticated=True, presumed=True, remedy=self.remedy or CHECK_ON_THE_WAY
        )


Outcome = Answered | Unknown | Unanswered


@dataclass(frozen=True, slots=True)
class Listed:
    """All jobs of some requests; if `cut`, only those of the pages that were read.

    running: job ids, as a running job has no further data. calls: one for each page, also for a failed one.
    failure: of the page that ended the listing; None if it was only too long to read at once. doubtful: ids of jobs
    whose status cannot be read or is not known. unreadable: the reason, if records could not be read.
    """

    running: frozenset[str]
    ended: tuple[Job, ...]
    calls: int
    cut: bool = False
    failure: Unanswered | None = None
    doubtful: frozenset[str] = frozenset()
    unreadable: str | None = None

    @property
    def pages(self) -> int:
        """Returns how many pages were read whole."""
        return self.calls - (self.failure is not None)

    @property
    def seen(self) -> frozenset[str]:
        return self.running | self.doubtful | {job.job_id for job in self.ended if job.job_id}


@dataclass(frozen=True, slots=True)
class NoSuchRequest:
    """CPH has no jobs for one of the requests and does not say which: list each separately."""


@dataclass(frozen=True, slots=True)
class MayNotList:
    """The permission `cph:jobs:list` is missing, or this endpoint has no ListJobs; ShowJob still works."""

    reason: str
    error_code: str | None = field(default=None, kw_only=True, compare=False)
    remedy: str | None = field(default=None, kw_only=True, compare=False)


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
        answer = self._answer(f"/{quote(job_id, safe='')}", lambda reply: _job(reply, job_id))
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
        found = JobList()
        calls = 0

        def listed(*, cut: bool = False, failure: Unanswered | None = None) -> Listed:
            unreadable = f"{found.unreadable} of {found.records} listed jobs cannot be read"
            return Listed(
                frozenset(found.running),
                tuple(found.ended.values()),
                calls,
                cut,
                failure,
                frozenset(found.doubtful),
                unreadable if found.unreadable else None,
            )

        while True:
            page = self._page(request_ids, first_page + calls)
            calls += 1
            match page:
                case JobPage():
                    new = found.add(page.records)
                case Unanswered() if calls > 1:
                    return listed(cut=True, failure=page)
                case _:
                    return page
            if enough and found.shows(enough):
                return listed()
            if page.truncated:
                reason = f"a list of jobs is cut short after {len(page.records)}"
                return listed(cut=True, failure=Unanswered(reason, unreadable=True))
            # A page without anything new: this endpoint may not support paging. A damaged page may have lost records.
            if not new or (page.whole and len(page.records) < JOBS_A_PAGE):
                return listed()
            if calls == PAGES_AT_ONCE or not may_go_on():
                return listed(cut=True)

    def _page(self, request_ids: Sequence[str], page: int) -> JobPage | NoSuchRequest | MayNotList | Unanswered:
        ids = quote(",".join(request_ids), safe="")
        query = f"?request_ids={ids}&offset={page * JOBS_A_PAGE}&limit={JOBS_A_PAGE}"
        read = read_further_page if page else read_page
        match self._answer(query, read, max_bytes=PAGE_BYTES):
            case CphRefusal() as refusal if page and _is_past_the_end(refusal):
                return JobPage([])
            case CphRefusal(kind=RefusalKind.NO_SUCH_REQUEST):
                return NoSuchRequest()
            case (
                CphRefusal(kind=RefusalKind.FORBIDDEN | RefusalKind.NO_SUCH_API)
                | CphRefusal(kind=RefusalKind.OTHER, status=403 | 404 | 405) as refusal
            ):
                # The first page was allowed, so lists are: only this page is refused.
                if page:
                    return Unanswered(str(refusal), error_code=refusal.short)
                return MayNotList(str(refusal), error_code=refusal.short, remedy=refusal.listed.remedy)
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
                str(error),
                error.pause,
                unauthenticated=error.refused,
                unreachable=error.issuer_unreachable,
                error_code=code_in(str(error)),
            )
        except Unreachable as error:
            return Unanswered(str(error), unreachable=True)
        except UnexpectedAnswer as error:
            return Unanswered(str(error), unreadable=True, error_code=code_in(str(error)))

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
        parsed = _read(reply, read) if 200 <= reply.status < 300 else None
        return read_refusal(reply, secrets=headers.values()) if parsed is None else parsed


def _unanswered(refusal: CphRefusal) -> Unanswered:
    return Unanswered(
        str(refusal),
        refusal.pause,
        refusal.throttle,
        unauthenticated=refusal.unauthenticated,
        permanent=refusal.permanent,
        error_code=refusal.short,
        remedy=refusal.listed.remedy,
    )


def _is_past_the_end(refusal: CphRefusal) -> bool:
    return (refusal.code or "").replace(".", "").upper() in PAST_THE_END


def _read(reply: Reply, read: Read[T]) -> T | None:
    """Raises UnexpectedAnswer with what an operator needs to know of the answer, but none of its content."""
    try:
        return read(reply)
    except UnexpectedAnswer as error:
        cut = ", cut short" if reply.truncated else ""
        raise UnexpectedAnswer(f"HTTP {reply.status}: {error} ({len(reply.body):,} bytes{cut})") from error


def _job(reply: Reply, job_id: str) -> Job | None:
    payload = read_object(reply)
    if not payload:
        raise not_an_object(reply)
    if is_refusal(payload):
        return None
    job = read_job(payload, job_id)
    if job.status is None:
        raise UnexpectedAnswer("the status of the job is missing or cannot be read")
    return job
