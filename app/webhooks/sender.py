"""One attempt: a POST to a subscriber and its result."""

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
from app.webhooks import redirects
from app.webhooks.excerpt import excerpt
from app.webhooks.guard import DestinationRefused, Guard, Resolve

UNREADABLE = "the receiver answered, but the bridge could not read the answer; see its log"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of an attempt.

    error: a description or a stable code, without the resolved address and without the URL's path and query.
    service_message: what the response means, if it says more than its status.
    maybe_delivered: the request may have arrived although no response confirmed it.
    overloaded, malformed, url: see AnswerVerdict.
    fallback: the answer is to the format's fallback, sent after the full message was refused.
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
    malformed: bool = False
    fallback: bool = False
    url: str | None = field(default=None, repr=False)


def judge_by_status(answer: ServiceAnswer) -> AnswerVerdict:
    return AnswerVerdict(by_status(answer.status))


class Sender:
    """Sends requests to subscribers; thread-safe. policy: called at each attempt, as the policy may change.

    clock: RedisClock.world_time.
    """

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
        stopwatch: Stopwatch | None = None,
    ) -> Attempt:
        """Sends a callback. secrets: values to mask in the response excerpt, in addition to what was sent.

        deadline: counts from the start of `stopwatch`; None for the default.
        """
        stopwatch = stopwatch or Stopwatch()
        reply = self._exchange(
            "POST", url, tenant=tenant, headers=headers, body=body, deadline=deadline, stopwatch=stopwatch
        )
        if isinstance(reply, Attempt):
            return reply
        sent = (value for name, value in headers.items() if not is_owned(name))
        hidden = (path_and_query(url), *sent, *secrets)
        try:
            judgement = judge(ServiceAnswer(reply.status, reply.headers, reply.body, url))
            attempt = self._answered(reply, judgement, hidden, stopwatch)
            redirect = redirects.describe(reply, url, hidden)
            return replace(attempt, service_message=redirect) if redirect else attempt
        except Exception as error:  # noqa: BLE001 - a bug of ours in reading must not cause endless attempts
            # Without the error's message: it may quote the response.
            name, frame = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
            at = f"{frame.filename}:{frame.lineno} {frame.name}"
            logs.event("answer.unreadable", level=logging.ERROR, error=name, at=at, status_code=reply.status)
            return replace(failed(Verdict.RETRY, UNREADABLE, stopwatch), status_code=reply.status, maybe_delivered=True)

    def options(
        self, url: str, *, tenant: str, headers: Mapping[str, str], deadline: timedelta, stopwatch: Stopwatch
    ) -> Reply | Attempt:
        """Sends OPTIONS. Returns the failed attempt if no response came."""
        return self._exchange(
            "OPTIONS", url, tenant=tenant, headers=headers, body=None, deadline=deadline, stopwatch=stopwatch
        )

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
        stopwatch: Stopwatch,
    ) -> Reply | Attempt:
        policy = self._policy()
        try:
            # Checked again after registration: the policy, or the stored URL, may have changed since.
            target = parse(url, policy, tenant)
            return self._transport.send(
                method,
                url,
                headers={"User-Agent": self._user_agent, **headers},
                body=body,
                deadline=deadline or self._deadline,
                connect=Guard(policy, target.grants, self._resolve),
                tls=next((grant.tls for grant in target.grants if grant.tls), PUBLIC),
                stopwatch=stopwatch,
                tenant=tenant,
            )
        except InvalidField as error:
            return failed(Verdict.REFUSED, error.detail, stopwatch)
        except DestinationRefused as error:
            return failed(Verdict.REFUSED, error.code, stopwatch)
        except Unreachable as error:
            return replace(failed(Verdict.RETRY, str(error), stopwatch), maybe_delivered=stopwatch.sent is not None)

    def _answered(
        self, reply: Reply, judgement: AnswerVerdict, secrets: tuple[str, ...], stopwatch: Stopwatch
    ) -> Attempt:
        return Attempt(
            verdict=judgement.verdict,
            status_code=reply.status,
            error=None,
            response_excerpt=excerpt(reply.body, secrets=secrets),
            timings=stopwatch.timings(),
            retry_after=judgement.retry_after or retry_after(reply.headers.get("retry-after"), self._clock()),
            # The service's message may quote what was sent.
            service_message=excerpt((judgement.service_message or "").encode(), secrets=secrets),
            maybe_delivered=judgement.maybe_delivered,
            overloaded=judgement.overloaded,
            malformed=judgement.malformed and judgement.verdict is Verdict.REFUSED,
            url=judgement.url,
        )


def failed(verdict: Verdict, error: str, stopwatch: Stopwatch) -> Attempt:
    """Returns an attempt without a response."""
    return Attempt(verdict, None, error, None, stopwatch.timings(), None)
