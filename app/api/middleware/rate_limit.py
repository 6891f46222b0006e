"""Requests a minute of each tenant: RateLimit and RateLimit-Policy as the IETF's draft has them, and 429."""

from collections.abc import Callable

from flask import Flask, Response, g

from app.domain.quota import WINDOW, Allowance, Quota, QuotaReached, Quotas
from app.store.request_rates import RequestQuota


class Pacing:
    """quotas_of: of a tenant."""

    def __init__(self, paces: RequestQuota, quotas_of: Callable[[str], Quotas]) -> None:
        self._paces = paces
        self._quotas_of = quotas_of

    def register(self, app: Flask) -> None:
        """Behind what says whose request it is."""
        app.before_request(self._check)
        app.after_request(_tell)

    def _check(self) -> None:
        principal = g.get("principal")
        quota = self._quotas_of(principal.tenant).requests if principal else 0
        if not quota:
            return
        allowed, g.allowance = self._paces.spend(principal.tenant, quota)
        if not allowed:
            raise QuotaReached(Quota.REQUESTS)


def _tell(response: Response) -> Response:
    """draft-ietf-httpapi-ratelimit-headers-10: structured fields, a policy's name and its parameters."""
    allowance: Allowance | None = g.get("allowance")
    if allowance:
        window = int(WINDOW.total_seconds())
        response.headers["RateLimit-Policy"] = f'"requests";q={allowance.quota};w={window}'
        response.headers["RateLimit"] = f'"requests";r={allowance.left};t={allowance.resets_in}'
    return response
