"""One attempt: a POST to a subscriber, and what came of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.address import AddressPolicy
from app.domain.callback_url import parse
from app.domain.errors import InvalidField
from app.domain.headers import is_owned
from app.domain.verdict import Verdict, by_status
from app.transport.client import PUBLIC, Reply, Transport
from app.transport.sockets import resolve
from app.transport.stopwatch import Stopwatch, Timings
from app.transport.unreachable import Unreachable
from app.webhooks.excerpt import excerpt
from app.webhooks.guard import Guard, Refused, Resolve
from app.webhooks.retry_after import retry_after


@dataclass(frozen=True, slots=True)
class Attempt:
    """error: words or a stable code, without the address that a name led to and without the URL's path and query."""

    verdict: Verdict
    status_code: int | None
    error: str | None
    response_excerpt: str | None
    timings: Timings
    retry_after: timedelta | None


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
        deadline: timedelta | None = None,
        secrets: Iterable[str] = (),
        watch: Stopwatch | None = None,
    ) -> Attempt:
        """secrets: what the excerpt of the answer must not show, beside what was sent. The deadline is the watch's."""
        watch = watch or Stopwatch()
        policy = self._policy()
        try:
            # Again, although registering checked it: the rules, or what is stored, may have changed since.
            to = parse(url, policy, tenant)
            reply = self._transport.send(
                "POST",
                url,
                headers={"User-Agent": self._user_agent, **headers},
                body=body,
                deadline=deadline or self._deadline,
                connect=Guard(policy, to.grants, self._resolve),
                tls=next((grant.tls for grant in to.grants if grant.tls), PUBLIC),
                watch=watch,
            )
        except InvalidField as error:
            return _failed(Verdict.REFUSED, error.detail, watch)
        except Refused as error:
            return _failed(Verdict.REFUSED, error.code, watch)
        except Unreachable as error:
            return _failed(Verdict.RETRY, str(error), watch)
        sent = (value for name, value in headers.items() if not is_owned(name))
        return self._answered(reply, (to.tail, *sent, *secrets), watch)

    def close(self) -> None:
        self._transport.close()

    def _answered(self, reply: Reply, secrets: Iterable[str], watch: Stopwatch) -> Attempt:
        return Attempt(
            verdict=by_status(reply.status),
            status_code=reply.status,
            error=None,
            response_excerpt=excerpt(reply.body, secrets=secrets),
            timings=watch.timings(),
            retry_after=retry_after(reply.headers.get("retry-after"), self._clock()),
        )


def _failed(verdict: Verdict, error: str, watch: Stopwatch) -> Attempt:
    return Attempt(verdict, None, error, None, watch.timings(), None)
