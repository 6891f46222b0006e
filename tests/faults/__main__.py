"""`./dev faults`: injects faults into a running bridge and judges its promises from outside."""

import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from pathlib import Path

import click

from tests.faults import report
from tests.faults.catalog import FaultCase, load_all
from tests.faults.run import FaultResult, run

BROKEN, WRONG_USAGE = 1, 2


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Lists the faults and ends.")
@click.option("--group", "groups", multiple=True, help="Runs this group only. May be repeated.")
@click.option("--quick", is_flag=True, help="Runs only the dozen that CI runs.")
@click.option("--seed", default=1, help="Of all chance; a further run of a fault has the next one.")
@click.option("--runs", default=1, type=click.IntRange(min=1), help="Runs of each fault.")
@click.option("--jobs", default=1, type=click.IntRange(min=1), help="Scenes at once. Each needs about one core.")
@click.option("--keep", is_flag=True, help="Keeps the evidence of faults that hold, too.")
@click.option("--report", "document", type=click.Path(path_type=Path), help="Writes the results to this file.")
def main(
    names: tuple[str, ...],
    groups: tuple[str, ...],
    seed: int,
    runs: int,
    jobs: int,
    document: Path | None,
    *,
    only_list: bool,
    quick: bool,
    keep: bool,
) -> None:
    """Injects the faults NAME…, or all. Exits with 1 if a promise broke."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(BROKEN))
    chosen = choose(load_all().values(), names, groups, quick=quick)
    if only_list:
        print(report.listing(chosen))
        return
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"{len(chosen)} faults × {runs} from seed {seed}, {jobs} at once; evidence goes to {folder}", flush=True)
    results: list[FaultResult] = []
    try:
        for result in run_all(chosen, range(seed, seed + runs), jobs, folder, keep=keep):
            results.append(result)
            number = f"[{len(results)}/{len(chosen) * runs}]"
            print(
                f"{number} {result.group} {result.name} (seed {result.seed}, {result.took_s:.0f} s): {result.verdict}",
                flush=True,
            )
    finally:  # an interrupted run shows what it has
        print(report.table(results))
        if document and results:
            document.write_text(report.document(results, load_all()), encoding="utf-8")
    if not any(folder.iterdir()):
        folder.rmdir()
    sys.exit(0 if all(result.ok for result in results) else BROKEN)


def choose(
    all_faults: Iterable[FaultCase], names: Sequence[str], groups: Sequence[str], *, quick: bool
) -> list[FaultCase]:
    faults = list(all_faults)
    known = {fault.name for fault in faults} | {fault.group for fault in faults}
    if unknown := {*names, *groups} - known:
        raise click.UsageError(f"no such fault or group: {', '.join(sorted(unknown))}; see --list")
    return [
        fault
        for fault in faults
        if (not names or fault.name in names) and (not groups or fault.group in groups) and (fault.quick or not quick)
    ]


def run_all(
    faults: Sequence[FaultCase], seeds: Sequence[int], jobs: int, folder: Path, *, keep: bool = False
) -> Iterator[FaultResult]:
    """Yields the results as they come. Each run has a process of its own."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = [
            pool.submit(run, fault.name, seed, folder / f"{fault.name}-{seed}", keep=keep)
            for seed in seeds
            for fault in faults
        ]
        try:
            for done in as_completed(runs):
                yield done.result()
        except BaseException:
            for running in active_children():  # each ends its scene
                running.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
