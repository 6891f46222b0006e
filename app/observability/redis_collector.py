"""What is read from Redis when somebody asks."""

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
from app.store.fitness import Fitness
from app.store.project_health import ProjectHealths

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Overview:
    """projects: how each that this process knows fares, by name."""

    now: datetime
    standing: DeploymentStats
    projects: Mapping[str, tuple[Budget, ProjectHealth]]


class Overviews:
    """All on a connection that gives up soon. projects: names of those that are known here."""

    def __init__(
        self,
        fitness: Fitness,
        standings: DeploymentStatsReader,
        polls: Agenda,
        healths: ProjectHealths,
        *,
        projects: Callable[[], Sequence[str]],
        clock: Callable[[], datetime],
    ) -> None:
        self._fitness = fitness
        self._standings = standings
        self._polls = polls
        self._healths = healths
        self._projects = projects
        self._clock = clock

    def read(self) -> Overview:
        """Raises Unavailable; UnfitRedis, where scripts may not even run."""
        self._fitness.check()
        now, projects = self._clock(), self._projects()
        standing = self._standings.read(now)
        fares = zip(self._polls.budgets(projects, now), self._healths.of(projects), strict=True)
        return Overview(now, standing, dict(zip(projects, fares, strict=True)))


class RedisCollector(Collector):
    """read: raises Unavailable or UnfitRedis, and within seconds."""

    def __init__(self, read: Callable[[], Overview]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        try:
            overview = self._read()
        except (Unavailable, UnfitRedis):
            yield _family(metric_definitions.REDIS_UP, {(): 0})
            return
        yield _family(metric_definitions.REDIS_UP, {(): 1})
        for what, values in (*_of_all(overview.standing), *_of_projects(overview)):
            yield _family(what, values)

    def describe(self) -> Sequence[Metric]:
        """Nothing: registering it must not ask Redis."""
        return ()


def _of_all(standing: DeploymentStats) -> Iterable[tuple[MetricDefinition, Values]]:
    yield metric_definitions.REDIS_MEMORY, {(): standing.memory_used}
    yield metric_definitions.REDIS_MEMORY_MOST, {(): standing.memory_most}
    yield metric_definitions.WATCHING, {(): standing.watching}
    yield metric_definitions.WATCHES, _by(standing.watches)
    yield metric_definitions.JOBS_ENDED, standing.ended
    yield metric_definitions.DELIVERIES, _by(standing.deliveries)
    yield metric_definitions.DESTINATIONS, _by(standing.destinations)
    yield metric_definitions.DUE, _by(standing.due)
    yield metric_definitions.DELIVERIES_LATE, {(): standing.late[DELIVER].total_seconds()}
    yield metric_definitions.QUEUED, _by(standing.queued)
    yield metric_definitions.WORKERS, _by(standing.workers)
    yield metric_definitions.LOOK_AGE, {(): standing.look_age.total_seconds()} if standing.look_age is not None else {}
    yield metric_definitions.LOOKS, {(): standing.looks}
    yield metric_definitions.OVERDUE, {(): standing.overdue}


def _of_projects(overview: Overview) -> Iterable[tuple[MetricDefinition, Values]]:
    projects = overview.projects
    budgets = {name: budget for name, (budget, _) in projects.items()}
    healths = {name: health for name, (_, health) in projects.items()}
    late = {name: _late(*fares) for name, fares in projects.items()}
    ends = {name: health.credentials_expire_at for name, health in healths.items()}
    yield metric_definitions.POLLS_LATE, _by({name: wait.total_seconds() for name, wait in late.items()})
    yield metric_definitions.RATE, _by({name: budget.rate for name, budget in budgets.items()})
    yield metric_definitions.THROTTLED, _by({name: budget.learned_rate is not None for name, budget in budgets.items()})
    yield metric_definitions.CALLS_LEFT, _by({name: budget.calls_left for name, budget in budgets.items()})
    yield metric_definitions.REFUSED, _by({name: health.refused_since is not None for name, health in healths.items()})
    left = {name: (end - overview.now).total_seconds() for name, end in ends.items() if end}
    yield metric_definitions.CREDENTIALS_LEFT, _by(left)


def _late(budget: Budget, health: ProjectHealth) -> timedelta:
    return timedelta() if budget.paused_until or health.refused_since else budget.late


def _by(values: Mapping[str, float]) -> Values:
    return {(name,): value for name, value in values.items()}


def _family(what: MetricDefinition, values: Values) -> Metric:
    kind = CounterMetricFamily if what.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(what.full_name, what.meaning, labels=what.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
