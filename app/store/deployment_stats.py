"""Statistics of the whole deployment, for metrics: a few round trips of bounded cost, whatever the size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.job import JobState
from app.domain.times import to_ms
from app.store.agenda import DELIVER, MILLISECOND, POLL
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts
from app.store.engine.unreadable import moment, whole

AGENDAS = (POLL, DELIVER)
ENDED = "ended:"
LANE_LIMIT = 200  # lanes of each kind that are examined, which blocks Redis for some milliseconds


@dataclass(frozen=True, slots=True)
class DeploymentStats:
    """ended: watched jobs by project and state. tick_age: since the dispatcher's last tick, None if there was none.
    late: for how long the oldest claimable item has waited, by agenda.

    memory_most: bytes, 0 if Redis has no limit. workers: by kind, those with a recent heartbeat in RQ. unreadable: what
    could not be read within the last day. data_lost_at: when a process found Redis without the data that it had known.
    """

    watching: int
    watches: Mapping[str, int]
    ended: Mapping[tuple[str, ...], int]
    deliveries: Mapping[str, int]
    destinations: Mapping[str, int]
    tick_age: timedelta | None
    ticks: int
    overdue: int
    due: Mapping[str, int]
    late: Mapping[str, timedelta]
    queued: Mapping[str, int]
    workers: Mapping[str, int]
    unreadable: int
    data_lost_at: datetime | None
    memory_used: int
    memory_most: int


class DeploymentStatsReader:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def read(self, now: datetime) -> DeploymentStats:
        """Raises Unavailable."""
        overview = self._scripts.run(
            ScriptCall("overview", now=to_ms(now), lane_limit=LANE_LIMIT, agenda_names=AGENDAS)
        )
        watching, dead, failing, paused, disabled, held, *lanes = overview
        pipeline = self._redis.pipeline(transaction=False)
        for kind in AGENDAS:
            pipeline.llen(keys.rq_queue(kind))
            pipeline.smembers(keys.rq_workers(kind))
        pipeline.hgetall(keys.counts())
        pipeline.zcard(keys.unreadable())
        pipeline.hget(keys.data(), "lost")
        pipeline.info("memory")
        *queues, counts, unreadable, lost, memory = pipeline.execute()
        looked = whole(counts.get("looked"), None)
        return DeploymentStats(
            watching=watching,
            watches={state: whole(counts.get(f"watch:{state}"), 0) for state in (JobState.PENDING, JobState.RUNNING)},
            ended={
                _project_and_state(name): whole(count, 0) for name, count in counts.items() if name.startswith(ENDED)
            },
            # Deliveries on hold are counted as pending, as their own state does not change.
            deliveries={"pending": max(0, whole(counts.get("delivery:pending"), 0) - held), "held": held, "dead": dead},
            destinations={"failing": failing, "paused": paused, "disabled": disabled},
            tick_age=max(0, to_ms(now) - looked) * MILLISECOND if looked is not None else None,
            ticks=whole(counts.get("looks"), 0),
            overdue=whole(counts.get("overdue"), 0),
            due=dict(zip(AGENDAS, lanes[::2], strict=True)),
            late={agenda: ms * MILLISECOND for agenda, ms in zip(AGENDAS, lanes[1::2], strict=True)},
            queued=dict(zip(AGENDAS, queues[::2], strict=True)),
            workers={kind: self._alive(names) for kind, names in zip(AGENDAS, queues[1::2], strict=True)},
            unreadable=unreadable,
            data_lost_at=moment(lost),
            memory_used=memory["used_memory"],
            memory_most=memory["maxmemory"],
        )

    def _alive(self, workers: Sequence[str]) -> int:
        return int(self._redis.exists(*workers)) if workers else 0


def _project_and_state(name: str) -> tuple[str, ...]:
    _, state, project = name.split(":", 2)
    return project, state
