"""`cph-bridge doctor`: finds faults of this deployment, and says how to fix them."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Any

import click
from rich.text import Text

from app.bootstrap.runtime import Runtime
from app.cli.options import as_json
from app.cli.output import echo_json, echo_rich
from app.cli.times import format_duration
from app.config.settings import load, unknown_names
from app.cph.client import UNKNOWN_JOB_ID, Unanswered
from app.domain.budget import Budget
from app.domain.errors import OperatorError, Unavailable, UnfitRedis
from app.domain.project_health import CHECK_CREDENTIALS, TRY_AT_ONCE, ProjectHealth
from app.domain.region import doubt_about
from app.store.agenda import DELIVER, POLL, Agenda
from app.store.data_marker import REMEDY
from app.store.engine.memory_guard import FULL
from app.store.engine.sentinels import count_known_replicas
from app.store.fitness import NO_EVICTION, FitnessReport, inspect_redis, name_of
from app.store.wrong_clocks import REDIS, WrongClock, read_wrong_clocks

FIELDS = ("redis_version", "aof_enabled", "maxmemory_policy", "used_memory", "maxmemory")
MIB = 1024 * 1024
PINGS = 5
MIN_KEY_LENGTH = 16
SLOW_REDIS = timedelta(milliseconds=10)
BACKLOG_AFTER = timedelta(seconds=10)
# RQ workers send a heartbeat every 15 s, but not before their current job is finished.
HEARTBEAT_TIMEOUT = timedelta(minutes=1)
MEMORY_WARNING = 0.6  # share of maxmemory
LOST_FOR = timedelta(days=14)
LISTED_AT_MOST = 10
REPAIR = (
    "find out who writes to this Redis; delete each damaged key: the bridge restores what it can within minutes"
    " (docs/operations.md#bridgeunreadablerecords)"
)
MAX_CLOCK_SKEW = timedelta(seconds=1)
SIGNATURES_REFUSED = timedelta(minutes=5)  # Standard Webhooks: the tolerance of receivers
FORGET_REPLICAS = "replicas that are gone for good are forgotten by SENTINEL RESET, one Sentinel after another"
CHECK_NETWORK = (
    "no answer came from there, so this says nothing about the credentials: check the endpoint, DNS, and what firewalls"
    " and network policies let out of here (in the chart: networkPolicy.cphTo, networkPolicy.cphPorts)"
)
CHECK_ADDRESS = "the credentials were not refused: check the project's id and the endpoint"


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    what: str
    remedy: str = ""


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Checks settings, Redis, clocks, workers, backlog and CPH, and says what to do.

    Exits with 1 if a check fails; with 0 if there are only warnings. Needs the bridge's settings, and connects to
    Redis and CPH itself.
    """
    failed = False
    for finding in examine():
        if as_json:
            echo_json({"level": finding.level.lower(), "what": finding.what, "remedy": finding.remedy or None})
        else:
            line = Text.assemble((f"{finding.level:<5}", STYLES[finding.level]), finding.what)
            echo_rich(line.append(f": {finding.remedy}") if finding.remedy else line)
        failed = failed or finding.level is Level.FAIL
    raise SystemExit(int(failed))


def examine() -> Iterator[Finding]:
    """Runs all checks; yields each finding as soon as it is known."""
    try:
        runtime = Runtime(load())
    except OperatorError as error:
        yield Finding(Level.FAIL, "settings", str(error))
        return
    yield from _check_settings(runtime)
    yield from _check_secrets(runtime)
    yield from _check_templates(runtime)
    try:
        report = inspect_redis(runtime.stores.scripts)
    except OperatorError as error:
        yield Finding(Level.FAIL, "settings", str(error))
        return
    except Unavailable as error:
        yield Finding(Level.FAIL, str(error), "check BRIDGE_REDIS_URL, the network and the server")
    else:
        yield from judge_fitness(report)
        if not report.usable:
            yield Finding(Level.WARN, "workers, backlog and CPH were not checked", "fix Redis first")
            return
        yield from _until_error(_check_deployment(runtime, report))
    yield from _check_cph(runtime)


def _until_error(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Ends with a finding if Redis stops answering, or refuses a command."""
    try:
        yield from findings
    except (Unavailable, UnfitRedis) as error:
        yield Finding(Level.FAIL, str(error), "the checks of Redis that follow this one were not made")


def _check_deployment(runtime: Runtime, report: FitnessReport) -> Iterator[Finding]:
    yield from judge_redis(report.info)
    known = count_known_replicas(runtime.stores.redis)
    yield from judge_replicas(report.info, runtime.settings.wait_replicas, known)
    yield judge_latency(_measure_latency(runtime))
    runtime.stores.clock()
    yield judge_clock(runtime.stores.clock.ahead)
    yield from judge_data(runtime.stores.data_marker.lost_at(), runtime.stores.clock())
    yield from judge_records(runtime.stores.reconciler.unreadable())
    yield from judge_wrong_clocks(read_wrong_clocks(runtime.stores.redis, runtime.stores.clock()))
    yield from _check_backlog(runtime, POLL, runtime.stores.polls_due)
    yield from _check_backlog(runtime, DELIVER, runtime.stores.deliveries_due)


def _check_settings(runtime: Runtime) -> Iterator[Finding]:
    try:
        runtime.check_configuration()
    except OperatorError as error:
        yield Finding(Level.FAIL, "settings", str(error))
    else:
        yield Finding(Level.OK, "settings are valid, and so are the files that they name")
    for name, nearest in unknown_names().items():
        yield Finding(Level.WARN, f"nothing reads {name}", f"did you mean {nearest}?" if nearest else "remove it")


def _check_secrets(runtime: Runtime) -> Iterator[Finding]:
    if runtime.settings.secret_keys:
        yield Finding(Level.OK, "secrets are encrypted at rest")
    else:
        remedy = "set BRIDGE_SECRET_KEYS to what `cph-bridge secret-key` prints"
        yield Finding(Level.WARN, "secrets are not encrypted in Redis", remedy)
    bootstrap = runtime.settings.bootstrap_key
    if bootstrap and len(bootstrap.get_secret_value()) < MIN_KEY_LENGTH:
        yield Finding(
            Level.WARN, "BRIDGE_BOOTSTRAP_KEY can be guessed", f"use at least {MIN_KEY_LENGTH} random characters"
        )


def _check_templates(runtime: Runtime) -> Iterator[Finding]:
    if runtime.settings.templates_dir is None:
        return
    with suppress(OperatorError):  # told with the other files
        names = ", ".join(runtime.config.format_catalog.templates) or "none"
        yield Finding(Level.OK, f"templates that render every event: {names}")


def judge_fitness(report: FitnessReport) -> Iterator[Finding]:
    """Yields the faults for which API and workers refuse to start."""
    if report.usable:
        yield Finding(Level.OK, f"{name_of(report.info)} runs the bridge's scripts")
    for fault in report.faults:
        yield Finding(Level.FAIL, fault.what, fault.remedy)


def judge_redis(info: Mapping[str, Any]) -> Iterator[Finding]:
    missing = [name for name in FIELDS if name not in info]
    if missing:
        remedy = "check these values where this Redis is managed"
        yield Finding(Level.WARN, f"INFO lacks {', '.join(missing)}", remedy)
    if "aof_enabled" in info:
        yield judge_append_only(info)
    if info.get("maxmemory_policy") == NO_EVICTION:
        yield Finding(Level.OK, "Redis does not evict keys")
    if "used_memory" in info and "maxmemory" in info:
        yield judge_memory(info["used_memory"], info["maxmemory"])


def judge_append_only(info: Mapping[str, Any]) -> Finding:
    if not info["aof_enabled"]:
        return Finding(Level.WARN, "Redis loses recent writes in a crash", "set appendonly yes")
    if info.get("aof_last_write_status", "ok") != "ok":
        remedy = "check whether its disk is full; until then Redis refuses writes"
        return Finding(Level.FAIL, "Redis cannot write its append-only file", remedy)
    return Finding(Level.OK, "Redis writes its append-only file")


def judge_replicas(info: Mapping[str, Any], wait: int, known: int | None) -> Iterator[Finding]:
    """wait: BRIDGE_WAIT_REPLICAS. known: how many replicas the Sentinels know; None without Sentinels.

    Yields nothing if there are no replicas and none are required.
    """
    states = [value["state"] for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    online = states.count("online")
    every = max(len(states), known or 0)
    text = f"{online} Redis replica{'' if online == 1 else 's'} in sync, BRIDGE_WAIT_REPLICAS is {wait}"
    if known is not None and known != online:
        text += f", Sentinels know {known}"
    if online < wait:
        remedy = "restore the replicas; or lower it to the number that is left and restart the API"
        yield Finding(Level.FAIL, f"{text}: callers get 503", remedy)
    elif wait < every:
        remedy = f"set it to {every}, the number of all replicas"
        if every > online:
            remedy += f"; {FORGET_REPLICAS}"
        yield Finding(Level.WARN, f"{text}: a failover can lose what was acknowledged", remedy)
    elif wait:
        yield Finding(Level.OK, text)
    # INFO has this field only if min-replicas-to-write is set. CONFIG GET would show it, but needs more rights.
    if online and "min_slaves_good_slaves" not in info:
        what = "a Redis primary that is cut off from its replicas keeps accepting writes"
        yield Finding(Level.WARN, what, "set min-replicas-to-write 1")


def judge_memory(used: int, limit: int) -> Finding:
    """used, limit: in bytes; limit 0 is unlimited."""
    if not limit:
        remedy = "set maxmemory, so that the API refuses (503) before the system kills Redis"
        return Finding(Level.WARN, f"Redis uses {used / MIB:.0f} MiB without a limit", remedy)
    text = f"Redis uses {used / limit:.0%} of its {limit / MIB:.0f} MiB"
    remedy = "raise maxmemory, or lower BRIDGE_RETENTION_S"
    if used >= FULL * limit:
        return Finding(Level.FAIL, f"{text}: the API refuses registrations", remedy)
    return Finding(Level.WARN, text, remedy) if used >= MEMORY_WARNING * limit else Finding(Level.OK, text)


def judge_data(lost_at: datetime | None, now: datetime) -> Iterator[Finding]:
    """Yields nothing if Redis has not lost its data within LOST_FOR."""
    if lost_at and now - lost_at < LOST_FOR:
        yield Finding(Level.WARN, f"Redis lost its data, noticed at {_format_time(lost_at)}", REMEDY)


def judge_records(unreadable: Sequence[str]) -> Iterator[Finding]:
    """unreadable: as Reconciler lists it. Yields nothing if it is empty."""
    if unreadable:
        shown = ", ".join(unreadable[:LISTED_AT_MOST]) + (", …" if len(unreadable) > LISTED_AT_MOST else "")
        noun = "record" if len(unreadable) == 1 else "records"
        yield Finding(Level.WARN, f"{len(unreadable)} damaged {noun} in Redis: {shown}", REPAIR)


def _check_backlog(runtime: Runtime, kind: str, agenda: Agenda) -> Iterator[Finding]:
    now, world_time = runtime.stores.clock(), runtime.stores.clock.world_time()
    heartbeats = runtime.stores.workers.last_heartbeats(kind, now)
    alive = sum(world_time - at < HEARTBEAT_TIMEOUT for at in heartbeats)
    oldest = agenda.next_due_at()
    yield judge_backlog(kind, alive, max(timedelta(), now - oldest) if oldest else timedelta())


def judge_backlog(kind: str, alive: int, late: timedelta) -> Finding:
    """late: how long the oldest due item has waited."""
    backlog = f"; backlog: {format_duration(late)} late" if late >= BACKLOG_AFTER else ""
    if not alive:
        level = Level.FAIL if backlog else Level.WARN
        return Finding(level, f"no {kind} worker is alive{backlog}", f"start `cph-bridge worker {kind}`")
    text = f"{alive} {kind} worker{'s' if alive > 1 else ''} alive{backlog}"
    remedy = f"start more of `cph-bridge worker {kind}`, or check their logs"
    return Finding(Level.WARN, text, remedy) if backlog else Finding(Level.OK, f"{text}, no backlog")


def judge_latency(latency: timedelta) -> Finding:
    text = f"Redis answers within {latency / timedelta(milliseconds=1):.1f} ms"
    if latency < SLOW_REDIS:
        return Finding(Level.OK, text)
    return Finding(Level.WARN, text, "move it closer to the bridge")


def judge_clock(ahead: timedelta) -> Finding:
    """ahead: how far Redis\' clock is ahead of this one.

    The bridge uses Redis' clock, and subscribers compare timestamps with theirs.
    """
    text = f"this clock and Redis' differ by {abs(ahead).total_seconds():.3f} s"
    if abs(ahead) >= SIGNATURES_REFUSED:
        return Finding(Level.FAIL, text, "run NTP on both: receivers refuse signatures that are 5 minutes off")
    return Finding(Level.OK, text) if abs(ahead) < MAX_CLOCK_SKEW else Finding(Level.WARN, text, "run NTP on both")


def judge_wrong_clocks(clocks: Iterable[WrongClock]) -> Iterator[Finding]:
    """Warnings only: the bridge goes on by its own time. Yields nothing for clocks that are right."""
    for clock in clocks:
        side = "ahead of" if clock.ahead > timedelta() else "behind"
        off = f"{format_duration(abs(clock.ahead))} {side} the deployment's time"
        if clock.name == REDIS:
            what = f"Redis' clock has leapt: it is {off} since {_format_time(clock.since)}"
            yield Finding(Level.WARN, what, "run NTP on Redis' machine")
        else:
            yield Finding(Level.WARN, f"the clock of {clock.name} is {off}", "run NTP there")


def _measure_latency(runtime: Runtime) -> timedelta:
    durations = []
    for _ in range(PINGS):
        started = time.perf_counter()
        runtime.stores.redis.ping()
        durations.append(time.perf_counter() - started)
    return timedelta(seconds=median(durations))


def _check_cph(runtime: Runtime) -> Iterator[Finding]:
    try:
        names = runtime.config.projects
    except OperatorError as error:
        yield Finding(Level.FAIL, "BRIDGE_PROJECTS_FILE", str(error))
        return
    if not names:
        yield Finding(Level.FAIL, "no CPH project is configured", "set BRIDGE_CPH_PROJECT_ID or BRIDGE_PROJECTS_FILE")
    for name in names:
        try:
            yield from _check_project(name, runtime)
            yield from _check_polling(name, runtime)
        except (Unavailable, UnfitRedis) as error:
            yield Finding(Level.WARN, f"CPH project {name} was not checked", str(error))


def _check_project(name: str, runtime: Runtime) -> Iterator[Finding]:
    """Asks CPH for a job that cannot exist: the answer that it is unknown shows that address and credentials work."""
    now = runtime.stores.clock.world_time()
    try:
        client = runtime.cph_client(name)
    except OperatorError as error:
        yield Finding(Level.FAIL, f"CPH project {name} cannot be checked", str(error))
        return
    outcome = client.show_job(UNKNOWN_JOB_ID)
    if isinstance(outcome, Unanswered):
        yield Finding(Level.FAIL, f"CPH project {name}: {outcome.reason}", _remedy_of(outcome))
    else:
        yield Finding(Level.OK, f"CPH project {name} answers")
    health = ProjectHealth(credentials_expire_at=client.credentials_expire_at, clock_ahead=client.clock_ahead)
    yield from judge_project(name, health, now)
    region = runtime.config.project_settings[name].region
    if region and (doubt := doubt_about(region)):
        yield Finding(Level.WARN, f"CPH project {name}", doubt)


def _remedy_of(outcome: Unanswered) -> str:
    if outcome.unreachable:
        return CHECK_NETWORK
    return outcome.remedy or (CHECK_CREDENTIALS if outcome.unauthenticated else CHECK_ADDRESS)


def judge_project(name: str, health: ProjectHealth, now: datetime) -> Iterator[Finding]:
    if remedy := health.remedy(now):
        yield Finding(Level.WARN, f"CPH project {name}", remedy)


def _check_polling(name: str, runtime: Runtime) -> Iterator[Finding]:
    """Checks the health that poll workers recorded: they run elsewhere, and may have other credentials."""
    now = runtime.stores.clock()
    [health] = runtime.stores.project_healths.of([name])
    [budget] = runtime.stores.polls_due.budgets([name], now)
    yield from judge_polling(name, health, budget, now)


def judge_polling(name: str, health: ProjectHealth, budget: Budget, now: datetime) -> Iterator[Finding]:
    yield Finding(Level.OK, f"CPH project {name}, as poll workers see it: {_describe(health, budget)}")
    if health.refused_since:
        next_try = f"next try {_format_time(budget.paused_until)}" if budget.paused_until else "tried now"
        when = f"since {_format_time(health.refused_since)}, {next_try}"
        what = f"CPH project {name} refuses the poll workers, {when}: {health.failure}"
        yield Finding(Level.WARN, what, f"{health.advice or 'check their credentials'}; {TRY_AT_ONCE}")
    for remedy in (health.unreadable_remedy(now), budget.remedy()):
        if remedy:
            yield Finding(Level.WARN, f"CPH project {name}", remedy)


def _describe(health: ProjectHealth, budget: Budget) -> str:
    """Describes what GET /v1/projects shows."""
    learned = f" (reduced to {budget.learned_rate:.3g} after CPH's 429s)" if budget.learned_rate else ""
    paused = f", paused until {_format_time(budget.paused_until)}" if budget.paused_until else ""
    ahead = health.clock_ahead
    parts = [
        f"last answer {_format_time(health.answered_at)}",
        f"{budget.rate:.3g} calls per second{learned}, {max(0.0, budget.calls_left):.0f} left{paused}",
        f"polls {budget.late.total_seconds():.0f} s late",
        f"credentials expire {_format_time(health.credentials_expire_at)}",
        "CPH's clock unknown" if ahead is None else f"CPH's clock {ahead.total_seconds():+.0f} s from ours",
    ]
    return "; ".join(parts)


def _format_time(moment: datetime | None) -> str:
    return f"{moment:%F %T} UTC" if moment else "unknown"
