"""Whether the process lives, and whether Redis answers it."""

from flask import Flask, Response

from app.api.routes import json_answer
from app.runtime import Runtime

OK = '{"status":"ok"}'


class Health:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def register(self, app: Flask) -> None:
        app.add_url_rule("/healthz", view_func=self.live)
        app.add_url_rule("/readyz", view_func=self.ready)

    def live(self) -> Response:
        return json_answer(OK)

    def ready(self) -> Response:
        self._runtime.redis.ping()
        return json_answer(OK)
