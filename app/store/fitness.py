"""Checks that a Redis is fit for the bridge: version, mode, eviction policy, and our user's rights."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from app.domain.errors import UnfitRedis
from app.store.engine import keys
from app.store.engine.refusals import CLUSTER, SENTINEL, FitnessFault, RedisRefuses, fault_of
from app.store.engine.scripts import ScriptCall, Scripts

OLDEST = (7, 0)  # the first with script flags; every Valkey reports compatibility with 7.2.4
TOO_OLD = (
    "the bridge needs Redis 7.0 or newer, or Valkey: an older Redis whose memory is full refuses the scripts that"
    " record results. Upgrade it, or set BRIDGE_REDIS_URL to another"
)
NO_EVICTION = "noeviction"
EVICTS = "set maxmemory-policy noeviction: with any other policy, a Redis whose memory is full deletes registrations"


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
        except (RedisRefuses, ResponseError):
            return ""


def inspect_redis(scripts: Scripts) -> FitnessReport:
    """Raises Unavailable if Redis does not answer."""
    try:
        info = scripts.redis.info()
    except (RedisRefuses, ResponseError) as error:
        return FitnessReport({}, (_fault(error),))
    seen = FitnessReport(info, tuple(judge(info)))
    if not seen.usable:
        return seen
    try:
        unused = {"unused_rq_key": keys.rq_fit(), "unused_rq_channel": keys.rq_fit_channel()}
        scripts.run(ScriptCall("check_rights", unused_key=keys.fit(), **unused))
    except (RedisRefuses, ResponseError) as error:
        return FitnessReport(info, (_fault(error), *seen.faults))
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


def _fault(error: RedisRefuses | ResponseError) -> FitnessFault:
    return error.fault if isinstance(error, RedisRefuses) else fault_of(error)
