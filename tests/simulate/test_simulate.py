"""Histories of steps and faults, played on the real scripts. `./dev simulate` plays many more."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.devkit.redis_server import RedisServer
from tests.simulate.__main__ import failure
from tests.simulate.bridge import SimulatedBridge
from tests.simulate.kept import KEPT
from tests.simulate.mutants import MUTANTS, RARE, planted, simulated
from tests.simulate.shrink import shrunk
from tests.simulate.steps import Step, history

SEEDS, LENGTH = range(1, 21), 80
ENOUGH_SEEDS = "400"  # for any bug of mutants.py that is not RARE


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> SimulatedBridge:
    with RedisServer(tmp_path_factory.mktemp("simulate")) as server:
        yield SimulatedBridge(server.url)


@pytest.mark.parametrize("name", KEPT)
def test_a_history_that_broke_a_promise_breaks_none_now(bridge: SimulatedBridge, name: str) -> None:
    assert failure(bridge, KEPT[name]) is None


def test_some_seeds_keep_the_promises(bridge: SimulatedBridge) -> None:
    assert {seed: found for seed in SEEDS if (found := failure(bridge, history(seed, LENGTH)))} == {}


def test_a_seed_is_the_same_history_each_time(bridge: SimulatedBridge) -> None:
    def passed() -> int:
        failure(bridge, history(7, LENGTH))
        return bridge.gate.passed

    assert history(7, LENGTH) == history(7, LENGTH) != history(8, LENGTH)
    assert passed() == passed()


def test_a_failing_history_shrinks_to_what_it_needs() -> None:
    steps: list[Step] = [("wait", number) for number in range(50)]

    def fails(some: Sequence[Step]) -> bool:
        return {("wait", 3), ("wait", 30), ("wait", 31)} <= set(some)

    assert shrunk(steps, fails) == [("wait", 3), ("wait", 30), ("wait", 31)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in RARE])
def test_a_planted_bug_is_found(name: str, tmp_path: Path) -> None:
    done = simulated(planted(name, tmp_path), "--seeds", ENOUGH_SEEDS, "--quick")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "seed " in done.stdout
