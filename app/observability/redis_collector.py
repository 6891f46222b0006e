"""Reads metrics from Redis at each scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.domain.budget import Budget
from app.domain.errors import Unavailable, UnfitRedis
from app.domain.project_health import ProjectHealth
from app.observability import metric_definitions
from app.observability.metric_definitions import MetricDefinition, MetricKind
from app.store.agenda import DELIVER, Agenda
from app.store.deployment_stats import DeploymentStats, DeploymentStatsReader
from app.store.engine.clock import RedisClock
from app.store.fitness import Fitness
from app.store.project_health import ProjectHealths

ENDED_STATES = ("succeeded", "failed", "lost")
Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Overview:
    """world_time: see RedisClock. projects: budget and health of each project that this process knows, by name."""

    world_time: datetime
    stats: DeploymentStats
    projects: Mapping[str, tuple[Budget, ProjectHealth]]


class Overviews:
    """Reads over a connection with a short timeout. projects: returns the names of this process's projects."""

    def __init__(
        self,
        fitness: Fitness,
        stats_reader: DeploymentStatsReader,
        polls: Agenda,
        healths: ProjectHealths,
        *,
        projects: Callable[[], Sequence[str]],
        clock: RedisClock,
    ) -> None:
        self._fitness = fitness
        self._stats_reader = stats_reader
        self._polls = polls
        self._healths = healths
        self._projects = projects
        self._clock = clock

    def read(self) -> Overview:
        """Raises Unavailable, or UnfitRedis if scripts may not even run."""
        self._fitness.check()
        now, projects = self._clock(), self._projects()
        stats = self._stats_reader.read(now)
        states = zip(self._polls.budgets(projects, now), self._healths.of(projects), strict=True)
        return Overview(self._clock.world_time(), stats, dict(zip(projects, states, strict=True)))


class RedisCollector(Collector):
    """read: raises Unavailable or UnfitRedis within seconds."""

    def __init__(self, read: Callable[[], Overview]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        try:
            overview = self._read()
        except (Unavailable, UnfitRedis):
            yield _family(metric_definitions.REDIS_UP, {(): 0})
            return
        yield _family(metric_definitions.REDIS_UP, {(): 1})
        for definition, values in (*_deployment_metrics(overview.stats), *_project_metrics(overview)):
            yield _family(definition, values)

    def describe(self) -> Sequence[Metric]:
        """Returns nothing: registering the collector must not query Redis."""
        return ()


def _deployment_metrics(stats: DeploymentStats) -> Iterable[tuple[MetricDefinition, Values]]:
    yield metric_definitions.REDIS_MEMORY, {(): stats.memory_used}
    yield metric_definitions.REDIS_MEMORY_MAX, {(): stats.memory_most}
    yield metric_definitions.CLOCK_AHEAD, _by({name: ahead.total_seconds() for name, ahead in stats.clocks.items()})
    yield metric_definitions.WATCHING, {(): stats.watching}
    yield metric_definitions.WATCHES, _by(stats.watches)
    yield metric_definitions.DELIVERIES, _by(stats.deliveries)
    yield metric_definitions.DESTINATIONS, _by(stats.destinations)
    yield metric_definitions.ON_HOLD_LONGEST, {(): stats.on_hold_longest.total_seconds()}
    yield metric_definitions.FAILING_LONGEST, {(): stats.failing_longest.total_seconds()}
    yield metric_definitions.DUE, _by(stats.due)
    yield metric_definitions.DELIVERIES_LATE, {(): stats.late[DELIVER].total_seconds()}
    yield metric_definitions.QUEUED, _by(stats.queued)
    yield metric_definitions.WORKERS, _by(stats.workers)
    yield metric_definitions.TICK_AGE, {(): stats.tick_age.total_seconds()} if stats.tick_age is not None else {}
    yield metric_definitions.TICKS, {(): stats.ticks}
    yield metric_definitions.OVERDUE, {(): stats.overdue}
    yield metric_definitions.UNREADABLE, {(): stats.unreadable}
    yield metric_definitions.DATA_LOST, {(): stats.data_lost_at.timestamp()} if stats.data_lost_at else {}


def _project_metrics(overview: Overview) -> Iterable[tuple[MetricDefinition, Values]]:
    projects = overview.projects
    # Zero at first: a counter that begins with its first event hides that event from `increase`.
    ended: dict[tuple[str, ...], float] = {(project, state): 0 for project in projects for state in ENDED_STATES}
    yield metric_definitions.JOBS_ENDED, {**ended, **overview.stats.ended}
    budgets = {name: budget for name, (budget, _) in projects.items()}
    healths = {name: health for name, (_, health) in projects.items()}
    late = {name: _late(*states) for name, states in projects.items()}
    expiries = {name: health.credentials_expire_at for name, health in healths.items()}
    yield metric_definitions.POLLS_LATE, _by({name: wait.total_seconds() for name, wait in late.items()})
    yield metric_definitions.RATE, _by({name: budget.rate for name, budget in budgets.items()})
    yield metric_definitions.THROTTLED, _by({name: budget.learned_rate is not None for name, budget in budgets.items()})
    yield metric_definitions.CALLS_LEFT, _by({name: budget.calls_left for name, budget in budgets.items()})
    yield metric_definitions.REFUSED, _by({name: health.refused_since is not None for name, health in healths.items()})
    left = {name: (end - overview.world_time).total_seconds() for name, end in expiries.items() if end}
    yield metric_definitions.CREDENTIALS_LEFT, _by(left)


def _late(budget: Budget, health: ProjectHealth) -> timedelta:
    return timedelta() if budget.paused_until or health.refused_since else budget.late


def _by(values: Mapping[str, float]) -> Values:
    return {(name,): value for name, value in values.items()}


def _family(definition: MetricDefinition, values: Values) -> Metric:
    kind = CounterMetricFamily if definition.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(definition.full_name, definition.description, labels=definition.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
