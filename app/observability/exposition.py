"""The `/metrics` page for Prometheus."""

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from app.observability.probe_server import Page

METRICS = "/metrics"


class Exposition:
    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)

    def text(self) -> bytes:
        return generate_latest(self._registry)


def metrics_page(exposition: Exposition) -> Page:
    return Page(200, exposition.text(), CONTENT_TYPE_PLAIN_0_0_4)
