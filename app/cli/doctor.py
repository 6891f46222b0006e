"""`cph-bridge doctor`: what is wrong with this deployment, and what to do about it."""

import re
import time
from collections.abc import Iterator, Mapping
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
from app.cli.times import in_words
from app.config.settings import load
from app.cph.client import Unanswered
from app.domain.budget import Budget
from app.domain.errors import OperatorError, Unavailable
from app.domain.project_health import CHECK_CREDENTIALS, TRY_AT_ONCE, ProjectHealth
from app.store.agenda import DELIVER, POLL, Agenda
from app.store.engine.memory_guard import FULL
from app.store.fitness import NO_EVICTION, FitnessReport, inspect_redis, name_of

FIELDS = ("redis_version", "aof_enabled", "maxmemory_policy", "used_memory", "maxmemory")
MIB = 1024 * 1024
PINGS = 5
SHORT_KEY = 16
SLOW = timedelta(milliseconds=10)
LATE = timedelta(seconds=10)
# RQ's workers say so every 15 s, but not before they have finished what they have in hand.
SILENT = timedelta(minutes=1)
CROWDED = 0.6  # of maxmemory
WRONG_CLOCK = timedelta(seconds=1)
# The shape of an id, but not one that CPH gives out.
NO_JOB = "0" * 32


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
    """Checks settings, Redis, clock, workers, backlog and CPH; says what to do.

    Ends with 1 if something must be done; with 0 also if there are warnings. It needs the settings of the bridge, and
    asks Redis and CPH itself.
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
    """One finding after the other, as they come in."""
    try:
        runtime = Runtime(load())
    except OperatorError as error:
        yield Finding(Level.FAIL, "settings", str(error))
        return
    yield Finding(Level.OK, "settings can be read")
    yield from _sealing(runtime)
    yield from _templates(runtime)
    try:
        seen = inspect_redis(runtime.stores.scripts)
    except OperatorError as error:
        yield Finding(Level.FAIL, "settings", str(error))
        return
    except Unavailable as error:
        yield Finding(Level.FAIL, str(error), "check BRIDGE_REDIS_URL, the network and the server")
    else:
        yield from judge_fitness(seen)
        if not seen.usable:
            yield Finding(Level.WARN, "workers, backlog and CPH were not looked at", "mend Redis first")
            return
        yield from judge_redis(seen.info)
        yield from judge_replicas(seen.info, runtime.settings.wait_replicas)
        yield judge_answer_time(_answer_time(runtime))
        runtime.stores.clock()
        yield judge_clock(runtime.stores.clock.ahead)
        yield from _work(runtime, POLL, runtime.stores.polls_due)
        yield from _work(runtime, DELIVER, runtime.stores.deliveries_due)
    yield from _cph(runtime)


def _sealing(runtime: Runtime) -> Iterator[Finding]:
    if runtime.settings.secret_keys:
        yield Finding(Level.OK, "secrets are encrypted at rest")
    else:
        remedy = "set BRIDGE_SECRET_KEYS to what `cph-bridge secret-key` prints"
        yield Finding(Level.WARN, "secrets lie open in Redis", remedy)
    bootstrap = runtime.settings.bootstrap_key
    if bootstrap and len(bootstrap.get_secret_value()) < SHORT_KEY:
        yield Finding(Level.WARN, "BRIDGE_BOOTSTRAP_KEY can be guessed", f"take {SHORT_KEY} random characters or more")


def _templates(runtime: Runtime) -> Iterator[Finding]:
    if runtime.settings.templates_dir is None:
        return
    try:
        names = ", ".join(runtime.config.format_catalog.templates) or "none"
    except OperatorError as error:
        yield Finding(Level.FAIL, "a template", str(error))
    else:
        yield Finding(Level.OK, f"templates that tell of every event: {names}")


def judge_fitness(seen: FitnessReport) -> Iterator[Finding]:
    """What also ends API and workers when they start."""
    if seen.usable:
        yield Finding(Level.OK, f"{name_of(seen.info)} runs the bridge's scripts")
    for fault in seen.faults:
        yield Finding(Level.FAIL, fault.what, fault.remedy)


def judge_redis(info: Mapping[str, Any]) -> Iterator[Finding]:
    missing = [name for name in FIELDS if name not in info]
    if missing:
        remedy = "look at it where this Redis is managed"
        yield Finding(Level.WARN, f"INFO lacks {', '.join(missing)}", remedy)
    if "aof_enabled" in info:
        yield judge_append_only(info)
    if info.get("maxmemory_policy") == NO_EVICTION:
        yield Finding(Level.OK, "Redis evicts nothing")
    if "used_memory" in info and "maxmemory" in info:
        yield judge_memory(info["used_memory"], info["maxmemory"])


def judge_append_only(info: Mapping[str, Any]) -> Finding:
    if not info["aof_enabled"]:
        return Finding(Level.WARN, "Redis would forget all that is new when it crashes", "set appendonly yes")
    if info.get("aof_last_write_status", "ok") != "ok":
        remedy = "look whether its disk is full; it takes no writes until it can"
        return Finding(Level.FAIL, "Redis could not write its append-only file", remedy)
    return Finding(Level.OK, "Redis writes its append-only file")


def judge_replicas(info: Mapping[str, Any], wait: int) -> Iterator[Finding]:
    """wait: BRIDGE_WAIT_REPLICAS. Nothing is said of a Redis that has no replicas, and of which none are asked for."""
    states = [value["state"] for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    online = states.count("online")
    text = f"{online} replica{'' if online == 1 else 's'} of Redis in step, BRIDGE_WAIT_REPLICAS is {wait}"
    if online < wait:
        remedy = "bring the replicas back, or lower it"
        yield Finding(Level.FAIL, f"{text}: callers are answered 503", remedy)
    elif wait and online == wait:
        yield Finding(Level.WARN, f"{text}: the loss of one stops all callers", "add a replica")
    elif wait:
        yield Finding(Level.OK, text)
    elif online:
        remedy = "set it to 1, or a failover loses registrations that were acknowledged"
        yield Finding(Level.WARN, text, remedy)
    # INFO has this field only where min-replicas-to-write is set; CONFIG, which would tell, is not open to everybody.
    if online and "min_slaves_good_slaves" not in info:
        what = "a primary of Redis that is parted from its replicas would go on taking writes"
        yield Finding(Level.WARN, what, "set min-replicas-to-write 1")


def judge_memory(used: int, limit: int) -> Finding:
    """In bytes; a limit of 0 is none."""
    if not limit:
        remedy = "set maxmemory, so that the API refuses (503) before the system ends Redis"
        return Finding(Level.WARN, f"Redis uses {used / MIB:.0f} MiB and may use all there is", remedy)
    text = f"Redis uses {used / limit:.0%} of its {limit / MIB:.0f} MiB"
    remedy = "raise maxmemory, or lower BRIDGE_RETENTION_S"
    if used >= FULL * limit:
        return Finding(Level.FAIL, f"{text}: the API takes nothing more", remedy)
    return Finding(Level.WARN, text, remedy) if used >= CROWDED * limit else Finding(Level.OK, text)


def _work(runtime: Runtime, kind: str, agenda: Agenda) -> Iterator[Finding]:
    now = runtime.stores.clock()
    alive = [at for at in runtime.stores.workers.heard_of(kind) if now - at < SILENT]
    oldest = agenda.next_due_at()
    yield judge_work(kind, len(alive), max(timedelta(), now - oldest) if oldest else timedelta())


def judge_work(kind: str, alive: int, late: timedelta) -> Finding:
    """late: how long what is due has waited."""
    waits = f"; work has waited for {in_words(late)}" if late >= LATE else ""
    if not alive:
        level = Level.FAIL if waits else Level.WARN
        return Finding(level, f"no {kind} worker is alive{waits}", f"start `cph-bridge worker {kind}`")
    text = f"{alive} {kind} worker{'s' if alive > 1 else ''} alive{waits}"
    remedy = f"start more of `cph-bridge worker {kind}`, or look into their logs"
    return Finding(Level.WARN, text, remedy) if waits else Finding(Level.OK, f"{text}, nothing is late")


def judge_answer_time(took: timedelta) -> Finding:
    text = f"Redis answers within {took / timedelta(milliseconds=1):.1f} ms"
    return Finding(Level.OK, text) if took < SLOW else Finding(Level.WARN, text, "move it closer to the bridge")


def judge_clock(ahead: timedelta) -> Finding:
    """The bridge goes by Redis' clock, whatever it says; but subscribers compare it with theirs."""
    text = f"this clock and Redis' are {abs(ahead).total_seconds():.3f} s apart"
    return Finding(Level.OK, text) if abs(ahead) < WRONG_CLOCK else Finding(Level.WARN, text, "run NTP on both")


def _answer_time(runtime: Runtime) -> timedelta:
    took = []
    for _ in range(PINGS):
        begun = time.perf_counter()
        runtime.stores.redis.ping()
        took.append(time.perf_counter() - begun)
    return timedelta(seconds=median(took))


def _cph(runtime: Runtime) -> Iterator[Finding]:
    try:
        names = runtime.config.projects
    except OperatorError as error:
        yield Finding(Level.FAIL, "BRIDGE_PROJECTS_FILE", str(error))
        return
    if not names:
        yield Finding(Level.FAIL, "no CPH project is configured", "set BRIDGE_CPH_PROJECT_ID or BRIDGE_PROJECTS_FILE")
    for name in names:
        try:
            yield from _asked(name, runtime)
            yield from _noted(name, runtime)
        except Unavailable as error:
            yield Finding(Level.WARN, f"CPH project {name} was not asked", str(error))


def _asked(name: str, runtime: Runtime) -> Iterator[Finding]:
    """Asks about a job that cannot exist: that CPH does not know it shows that all else is well."""
    now = runtime.stores.clock()
    try:
        client = runtime.cph_client(name)
    except OperatorError as error:
        yield Finding(Level.FAIL, f"CPH project {name} cannot be asked", str(error))
        return
    outcome = client.show_job(NO_JOB)
    if isinstance(outcome, Unanswered):
        yield Finding(Level.FAIL, f"CPH project {name}: {outcome.reason}", CHECK_CREDENTIALS)
    else:
        yield Finding(Level.OK, f"CPH project {name} answers")
    seen = ProjectHealth(credentials_expire_at=client.credentials_expire_at, clock_ahead=client.clock_ahead)
    yield from judge_project(name, seen, now)


def judge_project(name: str, seen: ProjectHealth, now: datetime) -> Iterator[Finding]:
    if remedy := seen.remedy(now):
        yield Finding(Level.WARN, f"CPH project {name}", remedy)


def _noted(name: str, runtime: Runtime) -> Iterator[Finding]:
    """What poll workers met: they run elsewhere, and may have other credentials."""
    now = runtime.stores.clock()
    [health] = runtime.stores.project_healths.of([name])
    [budget] = runtime.stores.polls_due.budgets([name], now)
    yield from judge_polling(name, health, budget)


def judge_polling(name: str, health: ProjectHealth, budget: Budget) -> Iterator[Finding]:
    yield Finding(Level.OK, f"CPH project {name}, as poll workers see it: {_standing(health, budget)}")
    if health.refused_since:
        next_try = f"next try {_at(budget.paused_until)}" if budget.paused_until else "tried now"
        when = f"since {_at(health.refused_since)}, {next_try}"
        what = f"CPH project {name} refuses the poll workers, {when}: {health.failure}"
        yield Finding(Level.WARN, what, f"check their credentials; {TRY_AT_ONCE}")
    if remedy := budget.remedy():
        yield Finding(Level.WARN, f"CPH project {name}", remedy)


def _standing(health: ProjectHealth, budget: Budget) -> str:
    """What GET /v1/projects shows, in words."""
    slower = f" (taught by CPH's 429s: {budget.learned_rate:.3g})" if budget.learned_rate else ""
    paused = f", paused until {_at(budget.paused_until)}" if budget.paused_until else ""
    ahead = health.clock_ahead
    parts = [
        f"last answer {_at(health.answered_at)}",
        f"{budget.rate:.3g} calls a second{slower}, {max(0.0, budget.calls_left):.0f} left{paused}",
        f"polls {budget.late.total_seconds():.0f} s late",
        f"credentials end {_at(health.credentials_expire_at)}",
        "CPH's clock not known" if ahead is None else f"CPH's clock {ahead.total_seconds():+.0f} s from ours",
    ]
    return "; ".join(parts)


def _at(moment: datetime | None) -> str:
    return f"{moment:%F %T} UTC" if moment else "not known"
