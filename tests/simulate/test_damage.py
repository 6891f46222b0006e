"""One record at a time is damaged: all others arrive. `./dev simulate --damages` tries all damages."""

from collections.abc import Iterator

import pytest
from redis import Redis

from app.devkit.redis_server import RedisServer
from tests.simulate.bridge import SimulatedBridge
from tests.simulate.damage import ABSENT, DamagedBridge, broken_by, damages, kinds

PARTS = 4
EACH = 100  # one in so many damages is tried


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DamagedBridge]:
    with RedisServer(tmp_path_factory.mktemp("damage")) as server:
        yield DamagedBridge(SimulatedBridge(server.url), Redis.from_url(server.url))


def test_all_keys_of_ours_are_there_to_be_damaged(scene: DamagedBridge) -> None:
    scene.restore()
    names = scene.raw.keys("*")
    absent = {kind for kind, pattern in kinds().items() if not any(map(pattern.fullmatch, names))}
    assert absent - ABSENT == set()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_record_costs_itself_only(scene: DamagedBridge, part: int) -> None:
    scene.restore()
    chosen = list(damages(scene.raw))[part * EACH // PARTS :: EACH]
    assert {str(damage): broken for damage in chosen if (broken := broken_by(scene, damage))} == {}
