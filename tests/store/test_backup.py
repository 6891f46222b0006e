"""Restores a backup of Redis' files, copied during work, on a new server, as docs/operations.md describes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import Settings
from app.devkit.processes import wait_until
from app.devkit.redis_server import RedisServer
from app.domain.delivery import DeliveryState, NextStep
from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from tests.support.claims import claim_due

HOUR = timedelta(hours=1)
AOF, RDB = "appendonlydir", "dump.rdb"


@contextmanager
def bridge_on(server: RedisServer, settings: Settings) -> Iterator[Runtime]:
    runtime = Runtime(Settings.model_validate({**settings.model_dump(), "redis_url": server.url}))
    yield runtime
    runtime.stores.redis.close()


def copy_aof(stores: Stores, folder: Path, to: Path) -> None:
    stores.redis.config_set("auto-aof-rewrite-percentage", "0")

    def is_complete() -> bool:
        info = stores.redis.info("persistence")
        return not info["aof_rewrite_in_progress"] and not info["aof_buffer_length"]

    wait_until(is_complete, what="an AOF with every write")
    shutil.copytree(folder / AOF, to / AOF)
    stores.redis.config_set("auto-aof-rewrite-percentage", "100")


def copy_rdb(stores: Stores, folder: Path, to: Path) -> None:
    before = stores.redis.lastsave()
    wait_until(lambda: stores.redis.time()[0] > before.timestamp(), what="another second")
    stores.redis.bgsave()
    wait_until(lambda: stores.redis.lastsave() > before, what="a snapshot")
    to.mkdir()
    shutil.copy(folder / RDB, to / RDB)


class WithoutAof(RedisServer):
    """Restores a snapshot: with `appendonly yes` a server reads only the AOF."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--appendonly", "no"]


@pytest.mark.parametrize(("copy", "server_type"), [(copy_aof, RedisServer), (copy_rdb, WithoutAof)])
def test_what_was_in_flight_falls_due_again_after_its_lease(
    tmp_path: Path,
    settings: Settings,
    registration,
    now: datetime,
    copy: Callable[[Stores, Path, Path], None],
    server_type: type[RedisServer],
) -> None:
    with RedisServer(tmp_path / "redis") as server, bridge_on(server, settings) as runtime:
        polled, delivered = registration("polled"), registration("delivered")
        runtime.stores.registrations.add(delivered)
        (poll,) = claim_due(runtime.stores.polls_due, now, 1)
        runtime.stores.scripts.run(runtime.stores.watches.complete(poll, Job("delivered", JobState.SUCCEEDED), now))
        runtime.stores.registrations.add(polled)
        assert [item.id for item in claim_due(runtime.stores.polls_due, now, 1)] == ["polled"]
        (delivery,) = claim_due(runtime.stores.deliveries_due, now, 1)
        copy(runtime.stores, tmp_path / "redis", tmp_path / "restored")
        settled = NextStep(DeliveryState.DELIVERED)
        runtime.stores.scripts.run(
            runtime.stores.deliveries.record(delivery, Verdict.DELIVERED, settled, {"id": "att_1"})
        )
        later = registration("later")
        runtime.stores.registrations.add(later)
    with server_type(tmp_path / "restored") as restored, bridge_on(restored, settings) as runtime:
        runtime.stores.redis.config_set("appendonly", "yes")
        assert [bool(runtime.stores.registrations.get("t", each.id)) for each in (polled, delivered, later)] == [
            1,
            1,
            0,
        ]
        assert not claim_due(runtime.stores.polls_due, now, 9)
        assert [item.id for item in claim_due(runtime.stores.polls_due, now + HOUR, 9)] == ["polled"]
        assert [item.id for item in claim_due(runtime.stores.deliveries_due, now + HOUR, 9)] == [delivery.id]
        wait_until(lambda: not runtime.stores.redis.info()["aof_rewrite_in_progress"], what="a new AOF")
    with RedisServer(tmp_path / "restored") as restarted, bridge_on(restarted, settings) as runtime:
        assert runtime.stores.registrations.get("t", polled.id)


def test_a_snapshot_is_not_read_while_appendonly_is_on(tmp_path: Path, settings: Settings, registration) -> None:
    made = registration()
    with RedisServer(tmp_path / "redis") as server, bridge_on(server, settings) as runtime:
        runtime.stores.registrations.add(made)
        copy_rdb(runtime.stores, tmp_path / "redis", tmp_path / "restored")
    with RedisServer(tmp_path / "restored") as restored, bridge_on(restored, settings) as runtime:
        assert runtime.stores.registrations.get("t", made.id) is None
