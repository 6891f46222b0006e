"""The baseline of the API: a view with one Redis command and no validation, on the API's own server."""

from typing import Any

from flask import Flask, request

from app.api.server import Server
from app.config.settings import load


class PlainServer(Server):
    def load(self) -> Flask:
        super().load()
        redis = self._runtime.stores.redis
        plain = Flask(__name__)

        @plain.post("/v1/registrations")
        def register() -> tuple[dict[str, Any], int]:
            body = request.get_json()
            redis.set(f"registration:{body['job_id']}", body["callback_url"])
            return {"job_id": body["job_id"]}, 201

        return plain


if __name__ == "__main__":
    PlainServer(load()).run()
