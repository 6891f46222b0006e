"""What happens in this process, counted."""

import os
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.observability.metric_definitions import ALL, MetricDefinition, MetricKind, MetricSource

TENANT = "tenant"


def share(folder: Path) -> None:
    """From now on what is counted stands in files there, for all processes that are forked from this one.

    The library wants to be told by the environment, and before it is imported; imports of ours do nothing of that kind.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # noqa: TID251 - it is the library's setting, not ours
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call] # the library's


class MetricRegistry:
    """For use by many threads. tenants: whether to tell them apart, where that is foreseen.

    shared: the folder that was given to `share`, if it was.
    """

    def __init__(self, *, tenants: bool = False, shared: Path | None = None) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # twice the series for what nobody looks at
        self._registry = CollectorRegistry()
        self._tenants = tenants
        self._shared = shared
        counted = [each for each in ALL if each.source is not MetricSource.REDIS]
        self._metrics = {each.name: self._metric(each) for each in counted}
        self._children: dict[tuple[str, tuple[str, ...]], Counter | Histogram] = {}

    def count(self, what: MetricDefinition, *labels: str, tenant: str = "", by: float = 1) -> None:
        counter = self._child(what, labels, tenant)
        counter.inc(by)  # type: ignore[union-attr] # it is a counter

    def observe(self, what: MetricDefinition, seconds: float, *labels: str) -> None:
        histogram = self._child(what, labels, "")
        histogram.observe(seconds)  # type: ignore[union-attr] # it is a histogram

    def collector(self) -> Collector:
        """What is counted; where it is shared, by all processes."""
        if self._shared is None:
            return self._registry
        return MultiProcessCollector(None, str(self._shared))  # type: ignore[no-untyped-call] # the library's

    def _child(self, what: MetricDefinition, labels: tuple[str, ...], tenant: str) -> Counter | Histogram:
        """Kept: the library's own way to it takes longer than counting."""
        if self._tenants and what.by_tenant:
            labels = (*labels, tenant)
        key = (what.name, labels)
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[what.name]
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child

    def _metric(self, what: MetricDefinition) -> Counter | Histogram:
        labels = (*what.labels, TENANT) if self._tenants and what.by_tenant else what.labels
        if what.kind is MetricKind.HISTOGRAM:
            return Histogram(what.full_name, what.meaning, labels, registry=self._registry, buckets=what.buckets)
        return Counter(what.full_name, what.meaning, labels, registry=self._registry)
