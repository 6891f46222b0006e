"""The list, the table at the end, and the document."""

import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.catalog import FaultCase
from tests.faults.run import FaultResult


def listing(faults: Sequence[FaultCase]) -> str:
    lines = [f"{fault.group:13} {fault.name:40} {fault.text}" for fault in faults]
    return "\n".join([*lines, f"{len(faults)} faults"])


def table(results: Sequence[FaultResult]) -> str:
    lines = ["", f"{'fault':40} {'runs':>4} {'ok':>4} {'regs':>6} {'callbacks':>9} {'recovery':>9}  broke"]
    for name, runs in by_fault(results).items():
        lines.append(
            f"{name:40} {len(runs):4} {sum(run.ok for run in runs):4} {sum(run.registrations for run in runs):6}"
            f" {sum(run.callbacks for run in runs):9} {_recovery(runs):>9}  {', '.join(broken(runs))}"
        )
    good = sum(result.ok for result in results)
    return "\n".join([*lines, f"{good} of {len(results)} runs held"])


def by_fault(results: Sequence[FaultResult]) -> dict[str, list[FaultResult]]:
    runs: defaultdict[str, list[FaultResult]] = defaultdict(list)
    for result in results:
        runs[result.name].append(result)
    return dict(runs)


def broken(runs: Sequence[FaultResult]) -> list[str]:
    """The promises that broke in any of the runs."""
    promises = {breach.promise for run in runs for breach in run.breaches}
    return [*sorted(promises), *({"failed to run"} if any(run.error for run in runs) else ())]


def _recovery(runs: Sequence[FaultResult]) -> str:
    times = [run.recovery_s for run in runs if run.recovery_s is not None]
    return f"{max(times):.1f} s" if times else "–"


INTRODUCTION = """\
# What holds when others misbehave

Made by `./dev faults --report docs/reliability.md`; do not edit. Anyone can repeat it: `./dev faults --list` names the
faults, `./dev faults NAME --seed N` runs one. The checker starts a whole bridge: API, both kinds of workers, and Redis,
or three with three Sentinels. It plays CPH and the subscribers. Three tenants register and cancel all the while. It
injects a fault, waits for quiet, and judges what callers were told against what receivers got and feeds say. It uses
nothing of the product's code.
"""
PROMISES = Path(__file__).with_name("promises.md")


def document(results: Sequence[FaultResult], faults: Mapping[str, FaultCase]) -> str:
    """The text of docs/reliability.md."""
    runs = by_fault(results)
    seeds = sorted({result.seed for result in results})
    held = sum(result.ok for result in results)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()
    day = f"{datetime.now(UTC):%Y-%m-%d}"  # noqa: TID251
    figures = (
        f"Commit {commit}, {day}, seeds {', '.join(map(str, seeds))}:"
        f" {len(results)} runs of {len(runs)} faults (of {len(faults)}), {held} held."
        f" {sum(result.registrations for result in results)} registrations were acknowledged, "
        f"{sum(result.callbacks for result in results)} callbacks arrived."
    )
    parts = [INTRODUCTION, figures, "", "## Promises", "", PROMISES.read_text(encoding="utf-8"), "## Faults"]
    for group in sorted({faults[name].group for name in runs}):
        parts += ["", f"### {group}", "", "| fault | what it does | held | callbacks | first callback after | broke |"]
        parts += ["|---|---|---|---|---|---|"]
        parts += [_row(faults[name], runs[name]) for name in runs if faults[name].group == group]
    return "\n".join([*parts, ""])


def _row(fault: FaultCase, runs: Sequence[FaultResult]) -> str:
    held = f"{sum(run.ok for run in runs)} of {len(runs)}"
    skipped = {f"skipped: {run.skipped}" for run in runs if run.skipped}
    text = f"{fault.text} ({fault.loses}: what was acknowledged before is gone)" if fault.loses else fault.text
    callbacks = sum(run.callbacks for run in runs)
    broke = ", ".join([*broken(runs), *skipped]) or "–"
    return f"| `{fault.name}` | {text} | {held} | {callbacks} | {_recovery(runs)} | {broke} |"
