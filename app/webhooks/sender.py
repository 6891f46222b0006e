"""One attempt: a POST to a subscriber, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from app.domain.address import AddressPolicy
from app.domain.callback_url import parse
from app.domain.errors import InvalidField
from app.domain.verdict import Verdict, by_status
from app.transport.client import Reply, Transport
from app.transport.sockets import resolve
from app.transport.unreachable import Unreachable
from app.webhooks.guard import Guard, Refused, Resolve
from app.webhooks.retry_after import retry_after

EXCERPT = 256


@dataclass(frozen=True, slots=True)
class Attempt:
    """error: words or a stable code, without the address that a name led to and without the URL's path and query."""

    verdict: Verdict
    status_code: int | None
    error: str | None
    response_excerpt: str | None
    took: timedelta
    retry_after: timedelta | None


class Sender:
    """For use by many threads."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        deadline: timedelta,
        user_agent: str,
        clock: Callable[[], datetime],
        resolve: Resolve = resolve,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._user_agent = user_agent
        self._clock = clock
        self._transport = Transport(connect=Guard(policy, resolve=resolve))

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, deadline: timedelta | None = None) -> Attempt:
        began = monotonic()
        try:
            # Again, although registering checked it: the rules, or what is stored, may have changed since.
            parse(url, self._policy)
            reply = self._transport.send(
                "POST",
                url,
                headers={"User-Agent": self._user_agent, **headers},
                body=body,
                deadline=deadline or self._deadline,
            )
        except InvalidField as error:
            return _failed(Verdict.REFUSED, error.detail, began)
        except Refused as error:
            return _failed(Verdict.REFUSED, error.code, began)
        except Unreachable as error:
            return _failed(Verdict.RETRY, str(error), began)
        return self._answered(reply, began)

    def close(self) -> None:
        self._transport.close()

    def _answered(self, reply: Reply, began: float) -> Attempt:
        return Attempt(
            verdict=by_status(reply.status),
            status_code=reply.status,
            error=None,
            response_excerpt=_excerpt(reply.body),
            took=_since(began),
            retry_after=retry_after(reply.headers.get("Retry-After"), self._clock()),
        )


def _failed(verdict: Verdict, error: str, began: float) -> Attempt:
    return Attempt(verdict, None, error, None, _since(began), None)


def _since(began: float) -> timedelta:
    return timedelta(seconds=monotonic() - began)


def _excerpt(body: bytes) -> str | None:
    text = body[: 4 * EXCERPT].decode("utf-8", "replace")[:EXCERPT]
    return "".join(character if character.isprintable() else " " for character in text).strip() or None
