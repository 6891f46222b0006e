"""Counters and histograms of this process."""

import os
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.observability.metric_definitions import ALL, MetricDefinition, MetricKind, MetricSource

TENANT = "tenant"


def share(folder: Path) -> None:
    """Moves the counts into files in `folder`, shared by all processes forked from this one from now on.

    The library expects the environment variable before its import, but imports of ours must have no side effects.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # noqa: TID251 - the library's setting, not ours
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call] # the library's


class MetricRegistry:
    """Thread-safe. tenants: whether metrics with `by_tenant` have the label `tenant`.

    shared: the folder given to `share`, if any.
    """

    def __init__(self, *, tenants: bool = False, shared: Path | None = None) -> None:
        # `_created` would double the series, and nobody uses it.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._tenants = tenants
        self._shared = shared
        counted = [definition for definition in ALL if definition.source is not MetricSource.REDIS]
        self._metrics = {definition.name: self._create(definition) for definition in counted}
        self._children: dict[tuple[str, tuple[str, ...]], Counter | Histogram] = {}

    def count(self, definition: MetricDefinition, *labels: str, tenant: str = "", by: float = 1) -> None:
        counter = self._child(definition, labels, tenant)
        counter.inc(by)  # type: ignore[union-attr] # it is a counter

    def observe(self, definition: MetricDefinition, seconds: float, *labels: str) -> None:
        histogram = self._child(definition, labels, "")
        histogram.observe(seconds)  # type: ignore[union-attr] # it is a histogram

    def collector(self) -> Collector:
        """Returns the metrics of this process, or of all processes that share their counts."""
        if self._shared is None:
            return self._registry
        return MultiProcessCollector(None, str(self._shared))  # type: ignore[no-untyped-call] # the library's

    def _child(self, definition: MetricDefinition, labels: tuple[str, ...], tenant: str) -> Counter | Histogram:
        """Caches children: the library's own lookup takes longer than counting."""
        if self._tenants and definition.by_tenant:
            labels = (*labels, tenant)
        key = (definition.name, labels)
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[definition.name]
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child

    def _create(self, definition: MetricDefinition) -> Counter | Histogram:
        labels = (*definition.labels, TENANT) if self._tenants and definition.by_tenant else definition.labels
        if definition.kind is MetricKind.HISTOGRAM:
            return Histogram(
                definition.full_name,
                definition.description,
                labels,
                registry=self._registry,
                buckets=definition.buckets,
            )
        return Counter(definition.full_name, definition.description, labels, registry=self._registry)
