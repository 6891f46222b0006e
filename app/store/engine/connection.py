"""The connection to Redis. Only this module translates its errors into ours."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Self

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.client import Pipeline
from redis.commands.core import Script
from redis.connection import DefaultParser, SSLConnection
from redis.exceptions import AuthenticationError, InvalidResponse, OutOfMemoryError, ResponseError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from app.domain.errors import Unavailable
from app.store.engine import keys, redis_url
from app.store.engine.refusals import RedisRefuses, fault_of, is_refusal


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retry: number of retries, and backoff. within: no attempt begins later than this after the first, so that
    timeouts are retried fewer times than immediate errors. stopping: once true, `within` is STOPPING_S at most."""

    retry: Retry
    within: timedelta
    stopping: Callable[[], bool] = lambda: False

    def run(self, command: Callable[[], Any]) -> Any:
        """Runs the command, with retries; raises our errors."""
        began, within_s = monotonic(), self.within.total_seconds()
        try:
            # No retry for a rejected password: it stays wrong, and the operator waits for the message.
            return self.retry.call_with_retry(
                command,
                lambda _: None,
                is_retryable=lambda error: (
                    not isinstance(error, AuthenticationError)
                    and monotonic() < began + (min(within_s, STOPPING_S) if self.stopping() else within_s)
                ),
            )
        except UNAVAILABLE_ERRORS as error:
            raise translate(error) from error
        except ResponseError as error:
            if is_refusal(error):
                raise translate(error) from error
            raise


FOR_EVER = -1
# The API answers 503 within seconds: a Redis that does not answer is tried twice, one that restarts three times.
QUICK = RetryPolicy(Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=2), timedelta(seconds=3))
# For callers that try again soon anyway, or need no answer.
ONCE = Retry(NoBackoff(), retries=0)
NO_RETRY = RetryPolicy(ONCE, timedelta(0))
# A worker keeps its results and retries during a restart of Redis: by default for the length of its lease.
PATIENT = RetryPolicy(Retry(ExponentialBackoff(cap=1, base=0.05), retries=FOR_EVER), timedelta(minutes=1))
STOPPING_S = 2.0  # patience of a process that is to end; a result that it cannot record falls due again elsewhere
EVEN_IF_FULL = "#!lua flags=allow-oom"
# Arguments: for each command the number of its words, then these.
CALL_IN_RESERVE = f"""{EVEN_IF_FULL}
local out, at = {{}}, 1
while ARGV[at] do
  local last = at + ARGV[at]
  out[#out + 1] = redis.pcall(unpack(ARGV, at + 1, last))
  at = last + 1
end
return out"""
LIST_UNREADABLE = f"""{EVEN_IF_FULL}
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] * 1000, ARGV[1])"""
SCRIPTS = ("EVAL", "EVALSHA")  # cannot be called by a script
BLOCKING = "BLMOVE"  # scripts of Redis 7.0 cannot call it, and later ones do not wait
RESERVE_WAIT_S = 0.1
KEEP_ASIDE = timedelta(days=14)  # a key that was moved aside, for the operator to look at
SENTINEL_TIMEOUT_S = 0.5  # short: a Sentinel has nothing else to do
ASK_SENTINELS_EVERY_S = 3.0
ASK_SILENT_SENTINELS_EVERY_S = 30.0  # each costs the call that asks SENTINEL_TIMEOUT_S


class NotPrimary(NotConnected):
    """The server has become a replica."""


class TooFewReplicas(NotConnected):
    """Too few replicas follow the server (min-replicas-to-write): a failover may have replaced it unnoticed."""


class Unwritable(NotConnected):
    """The server cannot write snapshots to disk, and accepts no writes until it can."""


class Stale(NotConnected):
    """The server is a replica that has lost its primary, and rejects all commands."""


class Busy(NotConnected):
    """The server runs a script of another application that does not end."""


class Unblocked(NotConnected):
    """The server ended a command that was waiting, because its role has changed."""


class WrongType(ResponseError):
    """A key has another type than the command expects."""


class _Parser(DefaultParser):  # type: ignore[valid-type,misc] # its type depends on whether hiredis is installed
    """Treats a server that rejects writes or commands as not connected, for RQ too: the next retry looks up the primary
    again."""

    EXCEPTION_CLASSES = DefaultParser.EXCEPTION_CLASSES | {
        "READONLY": NotPrimary,
        "NOREPLICAS": TooFewReplicas,
        "MISCONF": Unwritable,
        "MASTERDOWN": Stale,
        "BUSY": Busy,
        "UNBLOCKED": Unblocked,
        "WRONGTYPE": WrongType,
    }


UNAVAILABLE_ERRORS = (NotConnected, TimedOut, OutOfMemoryError, InvalidResponse)
REDIS_ERRORS = (*UNAVAILABLE_ERRORS, ResponseError)  # of clients that do not translate them, such as RQ's

MESSAGES: Mapping[type[Exception], str] = {
    AuthenticationError: "Redis rejects our user or password: give this process the current BRIDGE_REDIS_URL",
    OutOfMemoryError: "Redis is full: raise its maxmemory, or wait until ended registrations expire",
    InvalidResponse: "the server at BRIDGE_REDIS_URL is not Redis",
    NotPrimary: "this Redis is a replica: BRIDGE_REDIS_URL must name the primary",
    TooFewReplicas: "Redis accepts no writes: too few replicas follow it (min-replicas-to-write)",
    Unwritable: "Redis accepts no writes: it cannot write to its disk; its log has the reason",
    Stale: "this Redis is a replica without its primary: BRIDGE_REDIS_URL must name the primary",
    Busy: "Redis is busy with a script of another application: end it with SCRIPT KILL",
    Unblocked: "Redis ended a command that was waiting: its role has changed",
    MasterNotFoundError: "no Sentinel names a primary: if this persists, check BRIDGE_REDIS_SENTINEL…",
}


def translate(error: Exception) -> Exception:
    """Returns Unavailable if it passes by itself, RedisRefuses if an operator must act.

    Returns any other error unchanged: it is a bug of ours.
    """
    if isinstance(error, UNAVAILABLE_ERRORS):
        return Unavailable(MESSAGES.get(type(error), f"Redis cannot be reached: {error}"))
    if isinstance(error, ResponseError) and is_refusal(error):
        return RedisRefuses(fault_of(error))
    return error


class _ReservePipeline(Pipeline):
    """See ReserveClient."""

    uses_reserve = False

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = self.command_stack
        try:
            answers: list[Any] = super().execute(raise_on_error=False)
        except OutOfMemoryError as error:  # of a transaction: no command has run
            answers = [error] * len(commands)
        refused = [
            index
            for index, answer in enumerate(answers)
            if isinstance(answer, OutOfMemoryError) and commands[index][0][0] not in SCRIPTS
        ]
        if refused and self.uses_reserve:
            sent = _call_in_reserve([commands[index][0] for index in refused])
            call_at_once: Any = self.immediate_execute_command
            for index, answer in zip(refused, call_at_once(*sent), strict=True):
                answers[index] = answer
            self.reset()
        if raise_on_error:
            self.raise_first_error(commands, answers)  # type: ignore[no-untyped-call] # redis-py's
        return answers


class ReserveClient(Redis):
    """redis-py's client. uses_reserve: its commands also run when Redis is full, as scripts with the flag allow-oom do.

    That is for workers: they finish what is registered, which frees memory. Of replies a full Redis returns what the
    server sent, not what redis-py makes of it.
    """

    uses_reserve = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Callable[..., Any] = super().execute_command
        try:
            return execute(*args, **options)
        except OutOfMemoryError:
            if not self.uses_reserve or args[0] in SCRIPTS:
                raise
            blocks = args[0] == BLOCKING
            (answer,) = execute(*_call_in_reserve([("LMOVE", *args[1:-1]) if blocks else args]))
            if isinstance(answer, Exception):
                raise answer from None
            if answer is None and blocks:
                sleep(RESERVE_WAIT_S)
            return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _ReservePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.uses_reserve = self.uses_reserve
        return pipeline


def _call_in_reserve(commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Returns the command that runs these commands. None of them may be a script."""
    values = [value for command in commands for value in (len(command), *command)]
    return ["EVAL", CALL_IN_RESERVE, 0, *values]


class Connection(ReserveClient):
    """redis-py's client, with our errors and our retries.

    Its own retries are off: they would reconnect within each of our attempts.
    """

    retries = NO_RETRY

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Returns a client with another policy, on the same connection pool."""
        client = type(self)(connection_pool=self.connection_pool)
        client.retries, client.uses_reserve = retries, self.uses_reserve
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Callable[..., Any] = super().execute_command
        try:
            return self.retries.run(lambda: execute(*args, **options))
        except WrongType:
            if not self.move_aside(str(args[1])):
                raise
            return self.retries.run(lambda: execute(*args, **options))

    def move_aside(self, name: str) -> bool:
        """Renames a key of a wrong type, as scripts do (lua/shared/0_guard.lua).

        Returns False if it is not one of ours, or does not exist: then another key of the command was wrong.
        """
        if not name.startswith(keys.PREFIX):
            return False
        aside = self.pipeline(transaction=False)
        aside.rename(name, keys.aside(name))
        (renamed,) = aside.execute(raise_on_error=False)
        if isinstance(renamed, Exception):
            return False
        aside.expire(keys.aside(name), KEEP_ASIDE)
        aside.eval(LIST_UNREADABLE, 1, keys.unreadable(), name)
        aside.execute(raise_on_error=False)
        return True

    def register_script(self, script: Any) -> Script:
        return _Script(self, script)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.retries, pipeline.uses_reserve = self.retries, self.uses_reserve
        pipeline.move_aside = self.move_aside
        return pipeline


class _Script(Script):
    """Of redis-py's locks. Sends its text with each call: redis-py's own sends SCRIPT LOAD after a NOSCRIPT, which may
    reach another Redis than the call that follows, or be undone before it by a SCRIPT FLUSH. Also runs when
    Redis is full."""

    def __call__(self, keys: Any = None, args: Any = None, client: Any = None) -> Any:
        return client.eval("\n".join([EVEN_IF_FULL, str(self.script)]), len(keys), *keys, *args)


class _Pipeline(_ReservePipeline):
    retries = NO_RETRY
    move_aside: Callable[[str], bool]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Runs the commands; again, if the key of one had a wrong type and was moved aside."""
        execute, commands = super().execute, self.command_stack

        def once() -> list[Any]:
            self.command_stack = commands  # an earlier run has cleared them
            answers: list[Any] = execute(raise_on_error=False)
            if raise_on_error:
                for answer in answers:
                    if isinstance(answer, Exception) and not isinstance(answer, WrongType):
                        raise answer
            return answers

        answers: list[Any] = self.retries.run(once)
        wrong = [str(command[0][1]) for command, answer in zip(commands, answers, strict=True) if _is_wrong(answer)]
        moved = [self.move_aside(name) for name in wrong]
        if any(moved):
            answers = self.retries.run(once)
        if raise_on_error and any(map(_is_wrong, answers)):
            raise next(filter(_is_wrong, answers))
        return answers


def _is_wrong(answer: Any) -> bool:
    return isinstance(answer, WrongType)


class _SentinelClient(Redis):
    """Whatever one Sentinel answers with an error, the next one is asked: redis-py asks it only if this one is away."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Callable[..., Any] = super().execute_command
        try:
            return execute(*args, **options)
        except (ResponseError, InvalidResponse) as error:
            raise NotConnected(f"a Sentinel refuses {args[0]}") from error


class _SentinelPool(SentinelConnectionPool):
    """Also asks for the primary every few seconds: one that is parted from the Sentinels keeps its connections, and we
    would read from it until a write fails."""

    _ask_at = 0.0

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if monotonic() >= self._ask_at:
            self._ask_at = monotonic() + ASK_SILENT_SENTINELS_EVERY_S
            with suppress(*UNAVAILABLE_ERRORS):
                # Closes idle connections if the primary has changed.
                self.get_master_address()  # type: ignore[no-untyped-call] # redis-py's
                self._ask_at = monotonic() + ASK_SENTINELS_EVERY_S
        return super().get_connection(*args, **options)


def connect(
    url: str,
    *,
    sentinels: Sequence[str] = (),
    sentinel_user: str | None = None,
    sentinel_password: str | None = None,
    service: str = "",
    retries: RetryPolicy,
    timeout: timedelta,
    kind: type[ReserveClient] = Connection,
    uses_reserve: bool = False,
) -> Any:
    """Returns a thread-safe client, which connects on first use. timeout: for one reply. uses_reserve: see
    ReserveClient.

    sentinels: host:port of each; `rediss` and the TLS options of the URL apply to them too. kind: any but Connection
    retries as redis-py does. Raises OperatorError for an invalid URL.
    """
    pool = redis_url.parse(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout.total_seconds(),
        "socket_connect_timeout": timeout.total_seconds(),
        "retry": ONCE if kind is Connection else retries.retry,
        "parser_class": _Parser,
        "decode_responses": kind is Connection,  # RQ reads bytes
        "encoding_errors": "backslashreplace",  # a damaged value costs its record, not the whole reply
    }
    if not sentinels:
        return _with_policy(kind.from_url(url, **options), retries, uses_reserve)
    from_url = pool.connection_kwargs
    tls = {name: value for name, value in from_url.items() if name.startswith("ssl_")}
    if issubclass(pool.connection_class, SSLConnection):
        tls["ssl"] = True
    options |= tls | {name: from_url[name] for name in ("username", "password", "db") if from_url.get(name)}
    hosts = [(host.strip("[]"), int(port)) for host, _, port in (address.rpartition(":") for address in sentinels)]
    # Each Sentinel is asked once: the next one knows too, and each retry asks all of them again.
    sentinel_options: dict[str, Any] = {
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "retry": ONCE,
        "username": sentinel_user,
        "password": sentinel_password,
        **tls,
    }
    sentinel: Any = Sentinel([])  # type: ignore[no-untyped-call] # redis-py's
    sentinel.sentinels = [_SentinelClient(host, port, **sentinel_options) for host, port in hosts]
    return _with_policy(sentinel.master_for(service, kind, _SentinelPool, **options), retries, uses_reserve)


def _with_policy(client: Redis, retries: RetryPolicy, uses_reserve: bool) -> Redis:
    if isinstance(client, ReserveClient):
        client.uses_reserve = uses_reserve
    if isinstance(client, Connection):
        client.retries = retries
    return client
