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
from app.store.wrong_clocks import read_wrong_clocks

AGENDAS = (POLL, DELIVER)
ENDED = "ended:"
LANE_LIMIT = 200  # lanes of each kind that are examined, which blocks Redis for some milliseconds


@dataclass(frozen=True, slots=True)
class DeploymentStats:
    """ended: watched jobs by project and state. tick_age: since the dispatcher's last tick, None if there was none.
    late: for how long the oldest claimable item has waited, by agenda.

    on_hold_longest, failing_longest: for how long a destination with deliveries has been on hold, or failing.

    clocks: how far wrong ones are ahead, `redis` or a machine's. memory_most: bytes, 0 if Redis has no limit. workers:
    by kind, those with a recent heartbeat in RQ. unreadable: what could not be read within the last day. data_lost_at:
    when a process found Redis without the data that it had known.
    """

    watching: int
    watches: Mapping[str, int]
    ended: Mapping[tuple[str, ...], int]
    deliveries: Mapping[str, int]
    destinations: Mapping[str, int]
    on_hold_longest: timedelta
    failing_longest: timedelta
    tick_age: timedelta | None
    ticks: int
    overdue: int
    due: Mapping[str, int]
    late: Mapping[str, timedelta]
    queued: Mapping[str, int]
    workers: Mapping[str, int]
    unreadable: int
    data_lost_at: datetime | None
    clocks: Mapping[str, timedelta]
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
        watching, dead, failing, paused, disabled, held, on_hold_ms, failing_ms, *lanes = overview
        pipeline = self._redis.pipeline(transaction=False)
        for kind in AGENDAS:
            pipeline.llen(keys.rq_queue(kind))
            pipeline.smembers(keys.rq_workers(kind))
        pipeline.hgetall(keys.counts())
        pipeline.zcard(keys.unreadable())
        pipeline.hget(keys.data(), "lost")
        pipeline.info("memory")
        *queues, counts, unreadable, lost, memory = pipeline.execute()
        clocks = read_wrong_clocks(self._redis, now)
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
            on_hold_longest=on_hold_ms * MILLISECOND,
            failing_longest=failing_ms * MILLISECOND,
            tick_age=max(0, to_ms(now) - looked) * MILLISECOND if looked is not None else None,
            ticks=whole(counts.get("looks"), 0),
            overdue=whole(counts.get("overdue"), 0),
            due=dict(zip(AGENDAS, lanes[::2], strict=True)),
            late={agenda: ms * MILLISECOND for agenda, ms in zip(AGENDAS, lanes[1::2], strict=True)},
            queued=dict(zip(AGENDAS, queues[::2], strict=True)),
            workers={kind: self._alive(names) for kind, names in zip(AGENDAS, queues[1::2], strict=True)},
            unreadable=unreadable,
            data_lost_at=moment(lost),
            clocks={clock.name: clock.ahead for clock in clocks},
            memory_used=memory["used_memory"],
            memory_most=memory["maxmemory"],
        )

    def _alive(self, workers: Sequence[str]) -> int:
        return int(self._redis.exists(*workers)) if workers else 0


def _project_and_state(name: str) -> tuple[str, ...]:
    _, state, project = name.split(":", 2)
    return project, state
