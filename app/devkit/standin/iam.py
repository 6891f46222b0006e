"""Two calls of IAM: issues a project-scoped token for a password, and finds a project by its name."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from app.devkit.serving import json_answer
from app.devkit.standin.budgets import RequestBudget
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.faults import FaultKind, Refusals, apply_fault
from app.devkit.standin.gateway import iam_unavailable
from app.devkit.standin.refusal import CallRefused, IamCallRefused

PROJECT_NAME = "standin"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def _throttled(limit: RequestBudget) -> CallRefused:
    window = f"Threshold: {limit.calls} times per {limit.per_s / 60:g} minute(s)."
    return CallRefused(429, "IAM.0012", f"The throttling threshold has been reached. {window}")


def _unauthorized(why: str = "The username or password is wrong.") -> CallRefused:
    return IamCallRefused(401, "Unauthorized", why)


REFUSALS: Refusals = {
    FaultKind.THROTTLE: lambda: _throttled(RequestBudget(calls=10, per_s=60)),
    FaultKind.ERROR_500: lambda: IamCallRefused(
        500, "Internal Server Error", "An unexpected error prevented the server."
    ),
    FaultKind.UNAUTHORIZED: _unauthorized,
    FaultKind.FORBIDDEN: lambda: IamCallRefused(
        403, "Forbidden", "You are not authorized to perform the requested action."
    ),
    FaultKind.IAM_UNAVAILABLE: iam_unavailable,
}


@dataclass(frozen=True, slots=True)
class IamApi:
    cloud: Cloud

    def routes(self) -> Blueprint:
        routes = Blueprint("iam", __name__, url_prefix="/v3")
        routes.add_url_rule("/auth/tokens", view_func=self.create_token, methods=["POST"])
        routes.add_url_rule("/projects", view_func=self.list_projects)
        return routes

    def create_token(self) -> Response:
        with self.cloud.calls.count("iam_tokens"):
            now = self.cloud.clock.now()
            if exhausted := self.cloud.budgets.spend("iam_tokens", now):
                raise _throttled(exhausted)
            return apply_fault(self.cloud.faults.take("iam_tokens", now), lambda: self._token(now), REFUSALS)

    def list_projects(self) -> Response:
        """Takes a token; the SDK's signatures are not checked here."""
        if token := request.headers.get("X-Auth-Token"):
            self.cloud.tokens.check(token, self.cloud.clock.now())
        elif "Authorization" not in request.headers:
            raise _unauthorized("The request you have made requires authentication.")
        project = {"id": self.cloud.account.project_id, "name": PROJECT_NAME, "enabled": True, "is_domain": False}
        found = [project] if request.args.get("name", PROJECT_NAME) == PROJECT_NAME else []
        return json_answer({"projects": found, "links": {"self": request.base_url}})

    def _token(self, now: datetime) -> Response:
        account = self.cloud.account
        body: Any = request.get_json(silent=True)
        try:
            auth = body["auth"]
            user = auth["identity"]["password"]["user"]
            login, password = (user["domain"]["name"], user["name"]), user["password"]
            project = auth["scope"]["project"]
            scope = project["id"] if "id" in project else project["name"]
        except (KeyError, TypeError):
            raise IamCallRefused(400, "Bad Request", "The request body is invalid.") from None
        if login != (account.iam_domain, account.iam_user):
            raise _unauthorized()
        self._check_password(password, now)
        if scope != (account.project_id if "id" in project else PROJECT_NAME):
            raise _unauthorized()
        token, ends_at = self.cloud.tokens.issue(now)
        return json_answer({"token": self._token_body(now, ends_at)}, 201, {"X-Subject-Token": token})

    def _check_password(self, password: object, now: datetime) -> None:
        locks, user = self.cloud.user_locks, self.cloud.account.iam_user
        if locks.is_locked(user, now):
            raise _unauthorized("The account is locked.")
        if password != self.cloud.account.iam_password:
            locks.record_failure(user, now)
            raise _unauthorized()
        locks.record_success(user)

    def _token_body(self, issued_at: datetime, expires_at: datetime) -> dict[str, Any]:
        domain = {"id": self.cloud.account.iam_domain, "name": self.cloud.account.iam_domain}
        return {
            "expires_at": expires_at.strftime(DATE_FORMAT),
            "issued_at": issued_at.strftime(DATE_FORMAT),
            "methods": ["password"],
            "catalog": [],
            "roles": [],
            "project": {"id": self.cloud.account.project_id, "name": PROJECT_NAME, "domain": domain},
            "user": {"id": self.cloud.account.iam_user, "name": self.cloud.account.iam_user, "domain": domain},
        }
