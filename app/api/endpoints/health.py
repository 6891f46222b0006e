"""Whether the process lives, whether Redis answers it, and what is measured."""

from flask import Flask, Response

from app.api.input.blueprint import json_answer
from app.bootstrap.runtime import Runtime
from app.observability.exposition import METRICS, metrics_page

OK = '{"status":"ok"}'


class Health:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def register(self, app: Flask) -> None:
        app.add_url_rule("/healthz", view_func=self.live)
        app.add_url_rule("/readyz", view_func=self.ready)
        if not self._runtime.settings.metrics_bind:
            app.add_url_rule(METRICS, view_func=self.metrics)

    def live(self) -> Response:
        return json_answer(OK)

    def ready(self) -> Response:
        self._runtime.readiness.check()
        return json_answer(OK)

    def metrics(self) -> Response:
        page = metrics_page(self._runtime.metrics)
        return Response(page.body, page.status, content_type=page.content_type)
