"""IAM's one call that the bridge needs: a token for a password, scoped to a project."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from app.devkit.serving import json_answer
from app.devkit.standin.cloud import Cloud

MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class IamApi:
    cloud: Cloud

    def routes(self) -> Blueprint:
        routes = Blueprint("iam", __name__, url_prefix="/v3/auth/tokens")
        routes.add_url_rule("", view_func=self.create_token, methods=["POST"])
        return routes

    def create_token(self) -> Response:
        with self.cloud.calls.one("iam_tokens"):
            account = self.cloud.account
            given: Any = request.get_json(silent=True)
            try:
                auth = given["auth"]
                user = auth["identity"]["password"]["user"]
                claim = (user["domain"]["name"], user["name"], user["password"], auth["scope"]["project"]["id"])
            except (KeyError, TypeError):
                return _error(400, "Bad Request", "The request body is invalid.")
            if claim != (account.iam_domain, account.iam_user, account.iam_password, account.project_id):
                return _error(401, "Unauthorized", "The username or password is wrong.")
            now = self.cloud.clock.now()
            token, ends_at = self.cloud.tokens.issue(now)
            return json_answer({"token": self._about(now, ends_at)}, 201, {"X-Subject-Token": token})

    def _about(self, issued_at: datetime, expires_at: datetime) -> dict[str, Any]:
        domain = {"id": self.cloud.account.iam_domain, "name": self.cloud.account.iam_domain}
        return {
            "expires_at": expires_at.strftime(MOMENT),
            "issued_at": issued_at.strftime(MOMENT),
            "methods": ["password"],
            "catalog": [],
            "roles": [],
            "project": {"id": self.cloud.account.project_id, "name": "standin", "domain": domain},
            "user": {"id": self.cloud.account.iam_user, "name": self.cloud.account.iam_user, "domain": domain},
        }


def _error(status: int, title: str, message: str) -> Response:
    return json_answer({"error": {"code": status, "message": message, "title": title}}, status)
