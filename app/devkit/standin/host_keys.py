"""Issues temporary keys as the metadata service of an ECS host and the pod identity of a CCE cluster do.

Paths, headers and shapes are those that huaweicloudsdkcore 3.1.219 uses in auth/internal.py.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from flask import Blueprint, Response, request

from app.devkit.serving import json_answer
from app.devkit.standin.calls import ApiName
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.faults import FaultKind, Refusals, apply_fault
from app.devkit.standin.iam import DATE_FORMAT
from app.devkit.standin.refusal import IamCallRefused

NO_AGENCY = "Please configure Cloud Service Agency first"


def _unauthorized(why: str = "The token is missing or wrong.") -> IamCallRefused:
    return IamCallRefused(401, "Unauthorized", why)


REFUSALS: Refusals = {
    FaultKind.THROTTLE: lambda: IamCallRefused(429, "Too Many Requests", "Too many requests."),
    FaultKind.ERROR_500: lambda: IamCallRefused(500, "Internal Server Error", "Internal error."),
    FaultKind.UNAUTHORIZED: _unauthorized,
    FaultKind.FORBIDDEN: lambda: IamCallRefused(403, "Forbidden", "Forbidden."),
    FaultKind.IAM_UNAVAILABLE: lambda: IamCallRefused(503, "Service Unavailable", "The IAM service is unavailable."),
}


@dataclass(frozen=True, slots=True)
class HostKeys:
    cloud: Cloud
    tokens: set[str] = field(default_factory=set)

    def routes(self) -> Blueprint:
        routes = Blueprint("host_keys", __name__)
        routes.add_url_rule("/meta-data/latest/api/token", view_func=self.metadata_token, methods=["PUT"])
        routes.add_url_rule("/openstack/latest/securitykey", view_func=self.host_key)
        routes.add_url_rule("/pod-identity", view_func=self.pod_key, methods=["POST"])
        return routes

    def metadata_token(self) -> Response:
        if self.cloud.host.tokens == "unknown":
            raise IamCallRefused(404, "Not Found", "Not found.")
        if not request.headers.get("X-Metadata-Token-Ttl-Seconds", "").isdecimal():
            raise IamCallRefused(400, "Bad Request", "X-Metadata-Token-Ttl-Seconds is missing or wrong.")
        token = secrets.token_urlsafe(40)
        self.tokens.add(token)
        return Response(token, mimetype="text/plain")

    def host_key(self) -> Response:
        return self._call("host_keys", self._check_host)

    def pod_key(self) -> Response:
        return self._call("pod_keys", self._check_pod)

    def _check_host(self) -> None:
        host, token = self.cloud.host, request.headers.get("X-Metadata-Token")
        if host.tokens == "required" and token not in self.tokens:
            raise _unauthorized()
        if not host.agency:
            raise _unauthorized(NO_AGENCY)

    def _check_pod(self) -> None:
        """The Authorization header is the service account's token, without a scheme."""
        if request.headers.get("Authorization") != self.cloud.account.pod_token:
            raise _unauthorized()

    def _call(self, api: ApiName, check: Callable[[], None]) -> Response:
        with self.cloud.calls.count(api):
            check()
            now = self.cloud.clock.now()
            return apply_fault(self.cloud.faults.take(api, now), lambda: self._new_key(now), REFUSALS)

    def _new_key(self, now: datetime) -> Response:
        key = self.cloud.keys.issue(now)
        credential = {
            "access": key.access_key,
            "secret": key.secret_key,
            "securitytoken": key.security_token,
            "expires_at": key.ends_at.strftime(DATE_FORMAT),
        }
        return json_answer({"credential": credential})
