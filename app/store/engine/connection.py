"""The way to Redis: its errors become ours here, and only here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Self

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.client import Pipeline
from redis.connection import DefaultParser, SSLConnection
from redis.exceptions import AuthenticationError, InvalidResponse, OutOfMemoryError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from app.domain.errors import OperatorError, Unavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retry: how often a command is tried, and what lies between. within: no try begins later after the first one, so
    that what is not answered is tried less often than what is refused at once."""

    retry: Retry
    within: timedelta

    def make(self, command: Callable[[], Any]) -> Any:
        """Raises our errors."""
        last = monotonic() + self.within.total_seconds()
        try:
            # A password that is refused now is refused a moment later, and an operator waits to be told.
            return self.retry.call_with_retry(
                command,
                lambda _: None,
                is_retryable=lambda error: not isinstance(error, AuthenticationError) and monotonic() < last,
            )
        except UNAVAILABLE_ERRORS as error:
            raise translated(error) from error


FOR_EVER = -1
# A caller of the API gets its 503 within seconds: a Redis that is silent is asked twice, one that restarts three times.
QUICK = RetryPolicy(Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=2), timedelta(seconds=3))
# For those that ask again soon, and those that can do without an answer.
ONCE = Retry(NoBackoff(), retries=0)
NO_RETRY = RetryPolicy(ONCE, timedelta(0))
# A worker sits out a restart of Redis with its results in hand: for as long as its lease is, if nobody says otherwise.
PATIENT = RetryPolicy(Retry(ExponentialBackoff(cap=1, base=0.05), retries=FOR_EVER), timedelta(minutes=1))
ASKED_S = 0.5  # how long a Sentinel may take: it has nothing else to do


class NotPrimary(NotConnected):
    """It is a replica by now."""


class TooFewReplicas(NotConnected):
    """Too few replicas follow it (min-replicas-to-write): perhaps it was replaced, and does not know yet."""


class Unwritable(NotConnected):
    """It cannot write its snapshots to disk, and takes no writes until it can."""


class Stale(NotConnected):
    """It is a replica that has lost its primary, and answers nothing meanwhile."""


class Busy(NotConnected):
    """It runs a script, of somebody else's, that does not come to its end."""


class _Parser(DefaultParser):  # type: ignore[valid-type,misc] # whichever redis-py has
    """What takes no writes, or no commands, counts as not connected, for RQ too: the next try asks anew who the primary
    is."""

    EXCEPTION_CLASSES = DefaultParser.EXCEPTION_CLASSES | {
        "READONLY": NotPrimary,
        "NOREPLICAS": TooFewReplicas,
        "MISCONF": Unwritable,
        "MASTERDOWN": Stale,
        "BUSY": Busy,
    }


UNAVAILABLE_ERRORS = (NotConnected, TimedOut, OutOfMemoryError, InvalidResponse)


WORDS: Mapping[type[Exception], str] = {
    AuthenticationError: "Redis refuses our user or password: give this process the BRIDGE_REDIS_URL that is good now",
    OutOfMemoryError: "Redis is full: raise its maxmemory, or wait until what has ended is forgotten",
    InvalidResponse: "what answers is not Redis: BRIDGE_REDIS_URL names another server",
    NotPrimary: "this Redis is a replica: BRIDGE_REDIS_URL must name the primary",
    TooFewReplicas: "Redis takes no writes: too few replicas follow it (min-replicas-to-write)",
    Unwritable: "Redis takes no writes: it cannot write to its disk, and its log says why",
    Stale: "this Redis is a replica without its primary: BRIDGE_REDIS_URL must name the primary",
    Busy: "Redis is busy with a script that is not the bridge's: SCRIPT KILL ends it",
    MasterNotFoundError: "no Sentinel names a primary: if this does not heal, check BRIDGE_REDIS_SENTINEL…",
}


def translated(error: Exception) -> Exception:
    """Ours for what is AWAY; any other error is a mistake of ours and stays what it is."""
    if not isinstance(error, UNAVAILABLE_ERRORS):
        return error
    return Unavailable(WORDS.get(type(error), f"Redis cannot be reached: {error}"))


class Connection(Redis):
    """redis-py's client, with our errors, and tries of our own.

    Its own retries are off: they would try to connect again within each try of a command.
    """

    tries = NO_RETRY

    def with_tries(self, tries: RetryPolicy) -> Self:
        """Over the same connections."""
        client = type(self)(connection_pool=self.connection_pool)
        client.tries = tries
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Callable[..., Any] = super().execute_command
        return self.tries.make(lambda: execute(*args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.tries = self.tries
        return pipeline


class _Pipeline(Pipeline):
    tries = NO_RETRY

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        execute, commands = super().execute, self.command_stack

        def once() -> list[Any]:
            self.command_stack = commands  # a try that fails throws them away
            return execute(raise_on_error)

        answers: list[Any] = self.tries.make(once)
        return answers


def connect(
    url: str,
    *,
    sentinels: Sequence[str] = (),
    sentinel_password: str | None = None,
    service: str = "",
    tries: RetryPolicy,
    timeout: timedelta,
    kind: type[Redis] = Connection,
) -> Any:
    """A client for many threads; it connects when it is used. `timeout`: how long one answer may take.

    Another `kind` retries as redis-py does. OperatorError for a URL that means nothing.

    With sentinels, `rediss` and what the URL says of TLS hold for them as well.
    """
    pool = _understood(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "retry": ONCE if kind is Connection else tries.retry,
        "parser_class": _Parser,
        "decode_responses": kind is Connection,  # RQ reads bytes
    }
    if not sentinels:
        return _patient(kind.from_url(url, **options), tries)
    given = pool.connection_kwargs
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if issubclass(pool.connection_class, SSLConnection):
        tls["ssl"] = True
    options |= tls | {name: given[name] for name in ("username", "password", "db") if given.get(name)}
    hosts = [(host.strip("[]"), int(port)) for host, _, port in (sentinel.rpartition(":") for sentinel in sentinels)]
    # Each is asked once: the next one knows as well, and all of them are asked again with each try.
    manners = {"socket_timeout": ASKED_S, "socket_connect_timeout": ASKED_S, "retry": ONCE}
    watchers: Any = Sentinel(  # type: ignore[no-untyped-call] # redis-py's
        hosts, sentinel_kwargs={**manners, **tls, "password": sentinel_password}
    )
    return _patient(watchers.master_for(service, redis_class=kind, **options), tries)


def _understood(url: str) -> ConnectionPool:
    """What redis-py makes of it. OperatorError if that is nothing; what redis-py says then may quote a password."""
    try:
        pool = Redis.from_url(url).connection_pool
        pool.make_connection()  # it does not connect, but refuses options that there are not
    except (TypeError, ValueError):
        raise OperatorError("BRIDGE_REDIS_URL: an option or a number in it means nothing to Redis' client") from None
    return pool


def _patient(client: Redis, tries: RetryPolicy) -> Redis:
    if isinstance(client, Connection):
        client.tries = tries
    return client
