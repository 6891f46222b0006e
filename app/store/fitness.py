"""Checks that a Redis is fit for the bridge: version, mode, eviction policy, and our user's rights."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from app.domain.errors import UnfitRedis
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

OLDEST = (7, 0)  # the first with script flags; every Valkey reports compatibility with 7.2.4
TOO_OLD = (
    "the bridge needs Redis 7.0 or newer, or Valkey: an older Redis whose memory is full refuses the scripts that"
    " record results. Upgrade it, or set BRIDGE_REDIS_URL to another"
)
NO_EVICTION = "noeviction"
EVICTS = "set maxmemory-policy noeviction: with any other policy, a Redis whose memory is full deletes registrations"
RIGHTS = "~cph:* ~rq:* &rq:* +@all -@admin -@dangerous +info +client|list"
MAX_MESSAGE_CHARS = 120
COMMAND = re.compile(r"'([\w|-]+)' command")
UNKNOWN_COMMAND = re.compile(r"unknown command ['`]?([\w|-]+)")
# About a command that a script calls: messages of Redis and of Valkey.
NOT_IN_SCRIPTS = ("The user executing the script can't", "ACL failure in script")


@dataclass(frozen=True, slots=True)
class FitnessFault:
    """what: the finding. remedy: what is needed, why, and what to do. unusable: our scripts cannot run there."""

    what: str
    remedy: str
    unusable: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


SENTINEL = FitnessFault(
    "BRIDGE_REDIS_URL names a Sentinel, which stores no data",
    "set BRIDGE_REDIS_SENTINELS to host:port of the Sentinels, and BRIDGE_REDIS_SENTINEL_SERVICE to their name for the"
    " primary",
)
CLUSTER = FitnessFault(
    "Redis runs in cluster mode",
    "the bridge needs a Redis with `cluster-enabled no`, as its scripts use keys that a cluster stores on different"
    " nodes; for replicas, use Sentinel or a managed service without cluster mode",
)
PROTECTED = FitnessFault(
    "Redis is in protected mode and accepts commands from its own machine only",
    "give Redis a password, and BRIDGE_REDIS_URL the same one",
)


@dataclass(frozen=True, slots=True)
class FitnessReport:
    """info: reply to INFO; {} if our user may not call it."""

    info: Mapping[str, Any]
    faults: tuple[FitnessFault, ...]

    @property
    def usable(self) -> bool:
        return not any(fault.unusable for fault in self.faults)


class Fitness:
    """Remembers which server was fit; checks again when the server changes, as after a failover."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._fit_run_id = ""

    def check(self) -> None:
        """Raises UnfitRedis with all faults; Unavailable if Redis does not answer."""
        run_id = self._run_id()
        if run_id and run_id == self._fit_run_id:
            return
        if faults := inspect_redis(self._scripts).faults:
            raise UnfitRedis("; ".join(map(str, faults)))
        self._fit_run_id = run_id

    def _run_id(self) -> str:
        """Returns Redis' run id; '' if it does not report one."""
        try:
            return str(self._scripts.redis.info("server").get("run_id", ""))
        except ResponseError:
            return ""


def inspect_redis(scripts: Scripts) -> FitnessReport:
    """Raises Unavailable if Redis does not answer."""
    try:
        info = scripts.redis.info()
    except ResponseError as error:
        return FitnessReport({}, (_fault_of(error),))
    seen = FitnessReport(info, tuple(judge(info)))
    if not seen.usable:
        return seen
    try:
        scripts.run(ScriptCall("check_rights", unused_key=keys.fit()))
    except ResponseError as error:
        return FitnessReport(info, (_fault_of(error), *seen.faults))
    return seen


def judge(info: Mapping[str, Any]) -> Iterator[FitnessFault]:
    """Yields faults found in INFO. A field that a managed service omits is no fault: the trial script decides then."""
    mode = info.get("redis_mode") or info.get("server_mode")  # the field of Redis, and of Valkey
    if mode == "sentinel":
        yield SENTINEL
        return
    version = re.match(r"(\d+)\.(\d+)", str(info.get("redis_version")))
    if version and tuple(map(int, version.groups())) < OLDEST:
        yield FitnessFault(name_of(info), TOO_OLD)
    if mode == "cluster" or info.get("cluster_enabled"):
        yield CLUSTER
    policy = info.get("maxmemory_policy", NO_EVICTION)
    if policy != NO_EVICTION:
        yield FitnessFault(f"Redis may evict the bridge's data (maxmemory-policy {policy})", EVICTS, unusable=False)


def name_of(info: Mapping[str, Any]) -> str:
    """Returns product and version; a managed service may omit the version."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of unknown version')}"


def _fault_of(error: ResponseError) -> FitnessFault:
    """Returns the fault behind an error. Drops the arguments that Redis quotes, one of which may be a password."""
    message = str(error).partition(", with args")[0]
    if "cluster mode" in message:
        return CLUSTER
    if message.startswith("DENIED"):
        return PROTECTED
    if isinstance(error, NoPermissionError) or message.startswith(NOT_IN_SCRIPTS):
        command = COMMAND.search(message)
        lacks = f"may not call {_upper(command[1])}" if command else "lacks rights that our scripts need"
        at_least = f" (it lacks +{command[1]})" if command else ""
        return FitnessFault(
            f"the user of BRIDGE_REDIS_URL {lacks}", f"give it these rights with ACL SETUSER: {RIGHTS}{at_least}"
        )
    if unknown := UNKNOWN_COMMAND.search(message):
        if unknown[1].upper() == "SELECT":  # sent for the database number in the URL; only a Sentinel does not know it
            return SENTINEL
        version_hint = ", as no version before 6.0 does" if unknown[1].upper() == "HELLO" else ""
        return FitnessFault(
            f"Redis does not know the command {_upper(unknown[1])}{version_hint}",
            "the bridge needs Redis 7.0 or newer, or Valkey, and each command under its own name (no rename-command)",
        )
    return FitnessFault(
        f"Redis rejects a command of the bridge: {message[:MAX_MESSAGE_CHARS]}",
        'see docs/operations.md, "Settings that matter", for what the bridge needs',
    )


def _upper(command: str) -> str:
    return command.replace("|", " ").upper()
