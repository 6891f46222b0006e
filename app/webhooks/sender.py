"""One attempt: a POST to a subscriber, and what came of it."""

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app import logs
from app.domain.address import AddressPolicy
from app.domain.callback_url import parse, path_and_query
from app.domain.errors import InvalidField
from app.domain.headers import is_owned
from app.domain.retry_after import retry_after
from app.domain.verdict import Verdict, by_status
from app.formats.format import AnswerVerdict, ServiceAnswer
from app.transport.client import PUBLIC, Reply, Transport
from app.transport.sockets import resolve
from app.transport.stopwatch import Stopwatch, Timings
from app.transport.unreachable import Unreachable
from app.webhooks.excerpt import excerpt
from app.webhooks.guard import DestinationRefused, Guard, Resolve

UNREAD = "answered, but the bridge could not read the answer; its log says why"


@dataclass(frozen=True, slots=True)
class Attempt:
    """error: words or a stable code, without the address that a name led to and without the URL's path and query.

    said: what the answer means, in words, if it says more than its status. in_doubt: it may have arrived although
    nobody said so. crowded, url: see Judgement.
    """

    verdict: Verdict
    status_code: int | None
    error: str | None
    response_excerpt: str | None
    timings: Timings
    retry_after: timedelta | None
    service_message: str | None = None
    maybe_delivered: bool = False
    overloaded: bool = False
    url: str | None = field(default=None, repr=False)


def judge_by_status(answer: ServiceAnswer) -> AnswerVerdict:
    return AnswerVerdict(by_status(answer.status))


class Sender:
    """For use by many threads. policy: as it is now; it may change between two attempts."""

    def __init__(
        self,
        *,
        policy: Callable[[], AddressPolicy],
        deadline: timedelta,
        user_agent: str,
        clock: Callable[[], datetime],
        resolve: Resolve = resolve,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._user_agent = user_agent
        self._clock = clock
        self._resolve = resolve
        self._transport = Transport()

    def post(
        self,
        url: str,
        *,
        tenant: str,
        headers: Mapping[str, str],
        body: bytes,
        judge: Callable[[ServiceAnswer], AnswerVerdict] = judge_by_status,
        deadline: timedelta | None = None,
        secrets: Iterable[str] = (),
        watch: Stopwatch | None = None,
    ) -> Attempt:
        """secrets: what the excerpt of the answer must not show, beside what was sent. The deadline is the watch's."""
        watch = watch or Stopwatch()
        reply = self._exchange("POST", url, tenant=tenant, headers=headers, body=body, deadline=deadline, watch=watch)
        if isinstance(reply, Attempt):
            return reply
        tail = path_and_query(url)
        sent = (value for name, value in headers.items() if not is_owned(name))
        try:
            judgement = judge(ServiceAnswer(reply.status, reply.headers, reply.body, url))
            return self._answered(reply, judgement, (tail, *sent, *secrets), watch)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in reading must not send it all the time
            # Not the error's own words: they may quote the answer.
            name, frame = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
            at = f"{frame.filename}:{frame.lineno} {frame.name}"
            logs.event("answer.unread", level=logging.ERROR, error=name, at=at, status_code=reply.status)
            return replace(failed(Verdict.RETRY, UNREAD, watch), status_code=reply.status, maybe_delivered=True)

    def options(
        self, url: str, *, tenant: str, headers: Mapping[str, str], deadline: timedelta, watch: Stopwatch
    ) -> Reply | Attempt:
        """An attempt if no answer came."""
        return self._exchange("OPTIONS", url, tenant=tenant, headers=headers, body=None, deadline=deadline, watch=watch)

    def close(self) -> None:
        self._transport.close()

    def _exchange(
        self,
        method: str,
        url: str,
        *,
        tenant: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: timedelta | None,
        watch: Stopwatch,
    ) -> Reply | Attempt:
        policy = self._policy()
        try:
            # Again, although registering checked it: the rules, or what is stored, may have changed since.
            to = parse(url, policy, tenant)
            return self._transport.send(
                method,
                url,
                headers={"User-Agent": self._user_agent, **headers},
                body=body,
                deadline=deadline or self._deadline,
                connect=Guard(policy, to.grants, self._resolve),
                tls=next((grant.tls for grant in to.grants if grant.tls), PUBLIC),
                watch=watch,
            )
        except InvalidField as error:
            return failed(Verdict.REFUSED, error.detail, watch)
        except DestinationRefused as error:
            return failed(Verdict.REFUSED, error.code, watch)
        except Unreachable as error:
            return replace(failed(Verdict.RETRY, str(error), watch), maybe_delivered=watch.sent is not None)

    def _answered(self, reply: Reply, judgement: AnswerVerdict, secrets: tuple[str, ...], watch: Stopwatch) -> Attempt:
        return Attempt(
            verdict=judgement.verdict,
            status_code=reply.status,
            error=None,
            response_excerpt=excerpt(reply.body, secrets=secrets),
            timings=watch.timings(),
            retry_after=judgement.retry_after or retry_after(reply.headers.get("retry-after"), self._clock()),
            service_message=excerpt(
                (judgement.service_message or "").encode(), secrets=secrets
            ),  # they may quote the answer
            overloaded=judgement.overloaded,
            url=judgement.url,
        )


def failed(verdict: Verdict, error: str, watch: Stopwatch) -> Attempt:
    """No answer came."""
    return Attempt(verdict, None, error, None, watch.timings(), None)
