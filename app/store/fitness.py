"""Whether a Redis is such as the bridge needs it: version, mode, eviction, and what our user may do there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from app.domain.errors import UnfitRedis
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

OLDEST = (7, 0)  # the first with flags for scripts; every Valkey says that it is compatible with 7.2.4
TOO_OLD = (
    "the bridge needs Redis 7.0 or newer, or Valkey: an older Redis whose memory is full refuses the scripts that"
    " record results. Upgrade it, or have BRIDGE_REDIS_URL name another"
)
NO_EVICTION = "noeviction"
EVICTS = "set maxmemory-policy noeviction: with any other, a Redis whose memory is full throws away registrations"
RIGHTS = "~cph:* ~rq:* &rq:* +@all -@admin -@dangerous +info +client|list"
WORDS_AT_MOST = 120
COMMAND = re.compile(r"'([\w|-]+)' command")
UNKNOWN_COMMAND = re.compile(r"unknown command ['`]?([\w|-]+)")
# Of a command that a script calls: Redis' own words, and Valkey's.
NOT_IN_SCRIPTS = ("The user executing the script can't", "ACL failure in script")


@dataclass(frozen=True, slots=True)
class FitnessFault:
    """what: was found. remedy: what is needed, why, and what to do. unusable: whether our scripts cannot run there."""

    what: str
    remedy: str
    unusable: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


SENTINEL = FitnessFault(
    "BRIDGE_REDIS_URL names a Sentinel, which keeps no data",
    "set BRIDGE_REDIS_SENTINELS to host:port of the Sentinels, and BRIDGE_REDIS_SENTINEL_SERVICE to the name that they"
    " have for the primary",
)
CLUSTER = FitnessFault(
    "Redis runs in cluster mode",
    "the bridge needs a Redis with `cluster-enabled no`, as its scripts use keys that a cluster keeps on different"
    " nodes; Sentinel, or a managed service without cluster mode, has replicas too",
)
PROTECTED = FitnessFault(
    "Redis is in protected mode, and takes commands from its own machine only",
    "give Redis a password, and BRIDGE_REDIS_URL the same one",
)


@dataclass(frozen=True, slots=True)
class FitnessReport:
    """info: what INFO says; {} if our user may not ask."""

    info: Mapping[str, Any]
    faults: tuple[FitnessFault, ...]

    @property
    def usable(self) -> bool:
        return not any(fault.unusable for fault in self.faults)


class Fitness:
    """Remembers the server that it has seen fit: another one, as after a failover, is looked at anew."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._fit = ""

    def check(self) -> None:
        """UnfitRedis with all that is wrong; Unavailable if Redis does not answer."""
        run_id = self._run_id()
        if run_id and run_id == self._fit:
            return
        if faults := inspect_redis(self._scripts).faults:
            raise UnfitRedis("; ".join(map(str, faults)))
        self._fit = run_id

    def _run_id(self) -> str:
        """'' if Redis does not tell."""
        try:
            return str(self._scripts.redis.info("server").get("run_id", ""))
        except ResponseError:
            return ""


def inspect_redis(scripts: Scripts) -> FitnessReport:
    """Raises Unavailable if Redis does not answer."""
    try:
        info = scripts.redis.info()
    except ResponseError as error:
        return FitnessReport({}, (_refused(error),))
    seen = FitnessReport(info, tuple(judge(info)))
    if not seen.usable:
        return seen
    try:
        scripts.run(ScriptCall("check_rights", unused_key=keys.fit()))
    except ResponseError as error:
        return FitnessReport(info, (_refused(error), *seen.faults))
    return seen


def judge(info: Mapping[str, Any]) -> Iterator[FitnessFault]:
    """A field that a managed service leaves out is no fault: the script that is tried then has the last word."""
    mode = info.get("redis_mode") or info.get("server_mode")  # Redis' name, and Valkey's
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
        yield FitnessFault(f"Redis may evict what the bridge keeps (maxmemory-policy {policy})", EVICTS, unusable=False)


def name_of(info: Mapping[str, Any]) -> str:
    """As people know it; a managed service may leave the version out."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of a version that it does not tell')}"


def _refused(error: ResponseError) -> FitnessFault:
    """Only the beginning of what Redis says: an unknown command is quoted with its arguments, and one is a password."""
    words = str(error).partition(", with args")[0]
    if "cluster mode" in words:
        return CLUSTER
    if words.startswith("DENIED"):
        return PROTECTED
    if isinstance(error, NoPermissionError) or words.startswith(NOT_IN_SCRIPTS):
        command = COMMAND.search(words)
        lacks = f"may not call {_in_capitals(command[1])}" if command else "lacks rights that our scripts need"
        at_least = f" (it lacks +{command[1]})" if command else ""
        return FitnessFault(
            f"the user of BRIDGE_REDIS_URL {lacks}", f"give it these rights by ACL SETUSER: {RIGHTS}{at_least}"
        )
    if unknown := UNKNOWN_COMMAND.search(words):
        if unknown[1].upper() == "SELECT":  # of a URL with a database; every Redis has several
            return SENTINEL
        as_before = ", as no version before 6.0 does" if unknown[1].upper() == "HELLO" else ""
        return FitnessFault(
            f"Redis does not know the command {_in_capitals(unknown[1])}{as_before}",
            "the bridge needs Redis 7.0 or newer, or Valkey, and each command under its own name (no rename-command)",
        )
    return FitnessFault(
        f"Redis refuses what the bridge needs: {words[:WORDS_AT_MOST]}",
        'docs/operations.md, "Settings that matter", says what it needs',
    )


def _in_capitals(command: str) -> str:
    return command.replace("|", " ").upper()
