"""The way to Redis: its errors become ours here, and only here."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.client import Pipeline
from redis.connection import DefaultParser, SSLConnection
from redis.exceptions import AuthenticationError, OutOfMemoryError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from app.domain.errors import Unavailable

Client = Any  # Connection; redis' type hints cannot tell that with decode_responses every answer is str

# A caller of the API gets its 503 within seconds; a worker sits out a restart of Redis with its results in hand.
HASTY = Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=2)
# Whoever asks for metrics asks again soon, and waits for seconds at most.
BRIEF = Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=0)
PATIENT = Retry(ExponentialBackoff(cap=1, base=0.05), retries=15)
ASKED_S = 0.5  # how long a Sentinel may take: it has nothing else to do


class Replaced(NotConnected):
    """It is a replica by now."""


class Lonely(NotConnected):
    """Too few replicas follow it (min-replicas-to-write): perhaps it was replaced, and does not know yet."""


class Unwritable(NotConnected):
    """It cannot write its snapshots to disk, and takes no writes until it can."""


class _Parser(DefaultParser):  # type: ignore[valid-type,misc] # whichever redis-py has
    """What takes no writes counts as not connected, for RQ too: the next try asks anew who the primary is."""

    EXCEPTION_CLASSES = DefaultParser.EXCEPTION_CLASSES | {
        "READONLY": Replaced,
        "NOREPLICAS": Lonely,
        "MISCONF": Unwritable,
    }


AWAY = (NotConnected, TimedOut, OutOfMemoryError)


WORDS: Mapping[type[Exception], str] = {
    AuthenticationError: "Redis refuses our user or password: give this process the BRIDGE_REDIS_URL that is good now",
    OutOfMemoryError: "Redis is full: raise its maxmemory, or wait until what has ended is forgotten",
    Replaced: "this Redis is a replica: BRIDGE_REDIS_URL must name the primary",
    Lonely: "Redis takes no writes: too few replicas follow it (min-replicas-to-write)",
    Unwritable: "Redis takes no writes: it cannot write to its disk, and its log says why",
    MasterNotFoundError: "no Sentinel names a primary: if this does not heal, check BRIDGE_REDIS_SENTINEL…",
}


def translated(error: Exception) -> Exception:
    """Ours for what is AWAY; any other error is a mistake of ours and stays what it is."""
    if not isinstance(error, AWAY):
        return error
    return Unavailable(WORDS.get(type(error), f"Redis cannot be reached ({type(error).__name__})"))


class Connection(Redis):
    """redis-py's client, with our errors."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py's
        except AWAY as error:
            raise translated(error) from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            answers: list[Any] = super().execute(raise_on_error)
        except AWAY as error:
            raise translated(error) from error
        return answers


def connect(
    url: str,
    *,
    sentinels: Sequence[str] = (),
    sentinel_password: str | None = None,
    service: str = "",
    retry: Retry,
    timeout: timedelta,
    kind: type[Redis] = Connection,
) -> Any:
    """A client for many threads; it connects when it is used. `timeout`: how long one answer may take.

    With sentinels, `rediss` and what the URL says of TLS hold for them as well.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "retry": retry,
        "parser_class": _Parser,
        "decode_responses": kind is Connection,  # RQ reads bytes
    }
    if not sentinels:
        return kind.from_url(url, **options)
    pool = Redis.from_url(url).connection_pool
    given = pool.connection_kwargs
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if issubclass(pool.connection_class, SSLConnection):
        tls["ssl"] = True
    options |= tls | {name: given[name] for name in ("username", "password", "db") if given.get(name)}
    hosts = [(host.strip("[]"), int(port)) for host, _, port in (sentinel.rpartition(":") for sentinel in sentinels)]
    # Each is asked once: the next one knows as well, and all of them are asked again as often as `retry` says.
    manners = {"socket_timeout": ASKED_S, "socket_connect_timeout": ASKED_S, "retry": Retry(NoBackoff(), retries=0)}
    watchers: Any = Sentinel(  # type: ignore[no-untyped-call] # redis-py's
        hosts, sentinel_kwargs={**manners, **tls, "password": sentinel_password}
    )
    return watchers.master_for(service, redis_class=kind, **options)
