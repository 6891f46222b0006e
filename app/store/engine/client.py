"""The Redis commands that we use, with typed replies."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, Literal, Protocol, Self, overload

from redis import ConnectionPool
from redis.client import Pipeline
from redis.lock import Lock

from app.store.engine.connection import RetryPolicy

Entry = tuple[str, dict[str, str]]


class Client(Protocol):
    """A `Connection`, typed for mypy: with `decode_responses`, every string is a str.

    redis-py's own hints distinguish neither str from bytes nor a reply from an awaitable of one. Each method is the
    command of its name; it raises Unavailable if Redis cannot be reached within the RetryPolicy.
    """

    connection_pool: ConnectionPool

    def with_retries(self, retries: RetryPolicy) -> Self: ...

    def pipeline(self, transaction: bool = True) -> Pipeline: ...

    def lock(
        self,
        name: str,
        timeout: float | None = None,
        *,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
        raise_on_release_error: bool = True,
    ) -> Lock: ...

    def close(self) -> None: ...

    def ping(self) -> bool: ...

    def info(self, section: str | None = None) -> dict[str, Any]: ...

    def time(self) -> tuple[int, int]: ...

    def get(self, name: str) -> str | None: ...

    def mget(self, keys: Sequence[str]) -> list[str | None]: ...

    def set(
        self,
        name: str,
        value: str,
        *,
        ex: timedelta | None = None,
        px: timedelta | None = None,
        nx: bool = False,
    ) -> bool | None: ...

    def delete(self, *names: str) -> int: ...

    def pexpire(self, name: str, time: timedelta, *, lt: bool) -> bool: ...

    def exists(self, *names: str) -> int: ...

    def scan(self, cursor: int, match: str, count: int) -> tuple[int, list[str]]: ...

    def hget(self, name: str, key: str) -> str | None: ...

    def hgetall(self, name: str) -> dict[str, str]: ...

    def hmget(self, name: str, *keys: str) -> list[str | None]: ...

    def smembers(self, name: str) -> AbstractSet[str]: ...

    def blpop(self, keys: Sequence[str], timeout: float) -> tuple[str, str] | None: ...

    def llen(self, name: str) -> int: ...

    def zremrangebyscore(self, name: str, first: float, last: float) -> int: ...

    @overload
    def zrange(self, name: str, start: int, end: int) -> list[str]: ...

    @overload
    def zrange(self, name: str, start: int, end: int, *, withscores: Literal[True]) -> list[tuple[str, float]]: ...

    def zrevrangebylex(self, name: str, highest: str, lowest: str, start: int, num: int) -> list[str]: ...

    def zrem(self, name: str, *values: str) -> int: ...

    def zmscore(self, key: str, members: list[str]) -> list[float | None]: ...

    def zscan_iter(self, name: str, *, count: int) -> Iterator[tuple[str, float]]: ...

    def xrange(self, name: str, lowest: str, *, count: int) -> list[Entry]: ...

    def xrevrange(self, name: str, *, count: int) -> list[Entry]: ...

    def xread(self, streams: Mapping[str, str], count: int, block: int) -> list[tuple[str, list[Entry]]]: ...
