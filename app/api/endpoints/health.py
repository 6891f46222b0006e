"""Liveness and readiness probes, and the process's metrics."""

from collections.abc import Callable
from functools import partial

from flask import Flask, Response

from app.api.input.blueprint import json_answer
from app.observability.exposition import METRICS
from app.observability.probe_server import Page
from app.store.readiness import Readiness

OK = '{"status":"ok"}'


class HealthViews:
    """metrics: builds the metrics page; None if it is served on a separate port."""

    def __init__(self, readiness: Readiness, metrics: Callable[[], Page] | None) -> None:
        self._readiness = readiness
        self._metrics = metrics

    def register(self, app: Flask) -> None:
        app.add_url_rule("/healthz", view_func=self.live)
        app.add_url_rule("/readyz", view_func=self.ready)
        if self._metrics:
            app.add_url_rule(METRICS, METRICS, partial(_page, self._metrics))

    def live(self) -> Response:
        return json_answer(OK)

    def ready(self) -> Response:
        self._readiness.check()
        return json_answer(OK)


def _page(build: Callable[[], Page]) -> Response:
    page = build()
    return Response(page.body, page.status, content_type=page.content_type)
