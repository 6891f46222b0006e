"""The way to Redis: its errors become ours here, and only here."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry
from redis.sentinel import Sentinel

from app.domain.errors import Unavailable

Client = Any  # Connection; redis' type hints cannot tell that with decode_responses every answer is str

# A caller of the API gets its 503 within seconds; a worker sits out a restart of Redis with its results in hand.
HASTY = Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=2)
# Whoever asks for metrics asks again soon, and waits for seconds at most.
BRIEF = Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=0)
PATIENT = Retry(ExponentialBackoff(cap=1, base=0.05), retries=15)


AWAY = (NotConnected, TimedOut, OutOfMemoryError, ReadOnlyError)


def translated(error: Exception) -> Exception:
    """Ours for what is AWAY; any other error is a mistake of ours and stays what it is."""
    match error:
        case OutOfMemoryError():
            return Unavailable("Redis is full: raise its maxmemory, or wait until what has ended is forgotten")
        case ReadOnlyError():
            return Unavailable("this Redis is a replica: BRIDGE_REDIS_URL must name the primary")
        case NotConnected() | TimedOut():
            return Unavailable(f"Redis cannot be reached ({type(error).__name__})")
        case _:
            return error


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
    service: str = "",
    retry: Retry,
    timeout: timedelta,
    kind: type[Redis] = Connection,
) -> Any:
    """A client for many threads; it connects when it is used. `timeout`: how long one answer may take."""
    manners = {
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "retry": retry,
    }
    options: dict[str, Any] = {**manners, "decode_responses": kind is Connection}  # RQ reads bytes
    if not sentinels:
        return kind.from_url(url, **options)
    login = Redis.from_url(url).connection_pool.connection_kwargs
    options |= {name: login[name] for name in ("username", "password", "db") if login.get(name)}
    hosts = [(host.strip("[]"), int(port)) for host, _, port in (sentinel.rpartition(":") for sentinel in sentinels)]
    watchers: Any = Sentinel(hosts, sentinel_kwargs=manners)  # type: ignore[no-untyped-call] # redis-py's
    return watchers.master_for(service, redis_class=kind, **options)
