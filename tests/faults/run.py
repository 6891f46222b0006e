"""Runs one fault in a scene of its own."""

import dataclasses
import json
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.catalog import FaultCase, load_all
from tests.faults.clock import NoCompiler
from tests.faults.judge import Breach, Evidence, delays_s, judge, percentile_95, recovery_s
from tests.faults.scene import Scene

CALM_S = 3.5  # under load before and after the fault
NOISE_S = 3.0  # on a busy machine


@dataclass(frozen=True, slots=True)
class FaultResult:
    """error: why the run says nothing. skipped: why it did not run. recovery_s: None if no callback came."""

    name: str
    group: str
    seed: int
    breaches: tuple[Breach, ...] = ()
    registrations: int = 0
    callbacks: int = 0
    recovery_s: float | None = None
    took_s: float = 0.0
    evidence: str = ""
    error: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        return not self.breaches and not self.error

    @property
    def verdict(self) -> str:
        if self.skipped:
            return f"skipped: {self.skipped}"
        if self.error:
            return f"FAILED TO RUN: {self.error}; {self.evidence}"
        if self.breaches:
            return f"BROKEN: {'; '.join(map(str, self.breaches))}; evidence: {self.evidence}"
        return "ok"


def run(name: str, seed: int, folder: Path, *, keep: bool = False) -> FaultResult:
    """Runs a fault of the catalog. folder: where evidence lies; removed if all is well, unless `keep`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the scene's processes are ended
    result = run_fault(load_all()[name], seed, folder)
    if result.ok and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def run_fault(fault: FaultCase, seed: int, folder: Path) -> FaultResult:
    """Never raises: a fault that cannot be run is a result, too."""
    began = time.monotonic()
    try:
        result = _run(fault, seed, folder)
    except NoCompiler as reason:
        result = FaultResult(fault.name, fault.group, seed, skipped=str(reason))
    except Exception as error:  # noqa: BLE001 - the other faults are to be run all the same
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        result = FaultResult(
            fault.name, fault.group, seed, error=f"{type(error).__name__}: {error}", evidence=str(folder)
        )
    return dataclasses.replace(result, took_s=time.monotonic() - began)


def _run(fault: FaultCase, seed: int, folder: Path) -> FaultResult:
    with Scene(folder, fault.setting, seed) as scene:
        scene.load.start()
        began = time.monotonic()
        scene.pause(CALM_S)
        injected = time.monotonic()
        found = fault.inject(scene)
        ended = time.monotonic()
        scene.pause(CALM_S)
        scene.wait_for_callback_after(ended, fault.recovers_s)
        scene.load.stop()
        scene.settle(fault.settle_s, fault.poisoned)
        scene.load.end()
        evidence = scene.gather(injected, ended)
        left = scene.fleet.stop()
        evidence.logs = {**evidence.logs, **scene.read_logs()}
        evidence.poisoned, evidence.forgotten = fault.poisoned, bool(fault.loses)
        evidence.damaged, evidence.last_words = fault.damages, fault.may_exit
        evidence.replaced = fault.setting.sentinel
        exits = scene.fleet.exits
    breaches = [*(found or ()), *judge(evidence)]
    if left:
        breaches.append(Breach("processes left behind or slow to stop", len(left), tuple(map(str, left))))
    crashed = [f"{gone.role} ended with {gone.code}" for gone in exits if gone.by_itself]
    crashed += [f"{gone.role} stopped with {gone.code}" for gone in exits[-len(scene.fleet.of()) :] if gone.code]
    if crashed and not fault.may_exit:
        breaches.append(Breach("process ended by itself", len(crashed), tuple(crashed)))
    breaches += [*_slow(fault, evidence, began), *_silent(fault, evidence)]
    _write(folder, evidence)
    return FaultResult(
        fault.name,
        fault.group,
        seed,
        tuple(breaches),
        sum(bool(order.id) for order in evidence.orders),
        len(evidence.callbacks),
        recovery_s(evidence),
        evidence=str(folder),
    )


def _slow(fault: FaultCase, evidence: Evidence, began: float) -> Iterator[Breach]:
    recovery = recovery_s(evidence)
    if recovery is None or recovery > fault.recovers_s:
        took = "no callback" if recovery is None else f"{recovery:.1f} s"
        yield Breach("recovery", 1, (f"{took} after the fault, allowed {fault.recovers_s:g} s",))
    if fault.prompt:
        calm = delays_s(evidence.orders, evidence.callbacks, began, evidence.fault_began)
        now = delays_s(evidence.orders, evidence.callbacks, evidence.fault_began, evidence.fault_ended)
        limit = 2 * max(calm, default=1.0) + NOISE_S
        if percentile_95(now) > limit:
            yield Breach("others delayed", len(now), (f"p95 {percentile_95(now):.1f} s, limit {limit:.1f} s",))


def _silent(fault: FaultCase, evidence: Evidence) -> Iterator[Breach]:
    middle = (evidence.fault_began + evidence.fault_ended) / 2
    # In less time than callbacks may be delayed, silence says nothing.
    says_something = evidence.fault_ended - middle > NOISE_S
    arrived = any(middle < callback.at < evidence.fault_ended for callback in evidence.callbacks)
    if fault.goes_on and says_something and not arrived:
        yield Breach("goes on", 1, ("no callback arrived in the second half of the fault",))
    if fault.told and not any(re.search(fault.told, line) for lines in evidence.logs.values() for line in lines):
        yield Breach("told", 1, (f"no log line has {fault.told}",))


def _write(folder: Path, evidence: Evidence) -> None:
    def save(name: str, values: Any) -> None:
        lines = (json.dumps(value, default=_plain) for value in values)
        (folder / name).write_text("\n".join(lines), encoding="utf-8")

    save("orders.jsonl", map(dataclasses.asdict, evidence.orders))
    save("callbacks.jsonl", map(dataclasses.asdict, evidence.callbacks))
    for tenant, events in evidence.feeds.items():
        save(f"feed-{tenant}.jsonl", events)
        save(f"followed-{tenant}.jsonl", evidence.followed[tenant])
    save("metrics.jsonl", [evidence.metrics, evidence.statuses, {"fault_ended": evidence.fault_ended}])


def _plain(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
