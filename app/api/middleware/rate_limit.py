"""Limits each tenant's requests per minute: 429, and the IETF draft's headers RateLimit and RateLimit-Policy."""

from collections.abc import Callable

from flask import Flask, Response, g

from app.domain.quota import WINDOW, Allowance, Quota, QuotaReached, Quotas
from app.store.request_rates import RequestQuota


class RequestRateLimit:
    """quotas_of: returns a tenant's quotas."""

    def __init__(self, request_quota: RequestQuota, quotas_of: Callable[[str], Quotas]) -> None:
        self._request_quota = request_quota
        self._quotas_of = quotas_of

    def register(self, app: Flask) -> None:
        """Must be called after the authentication is registered: the check needs the principal."""
        app.before_request(self._check)
        app.after_request(_add_headers)

    def _check(self) -> None:
        principal = g.get("principal")
        quota = self._quotas_of(principal.tenant).requests if principal else 0
        if not quota:
            return
        allowed, g.allowance = self._request_quota.spend(principal.tenant, quota)
        if not allowed:
            raise QuotaReached(Quota.REQUESTS)


def _add_headers(response: Response) -> Response:
    """draft-ietf-httpapi-ratelimit-headers-10: structured fields, a policy's name and its parameters."""
    allowance: Allowance | None = g.get("allowance")
    if allowance:
        window = int(WINDOW.total_seconds())
        response.headers["RateLimit-Policy"] = f'"requests";q={allowance.quota};w={window}'
        response.headers["RateLimit"] = f'"requests";r={allowance.left};t={allowance.resets_in}'
    return response
