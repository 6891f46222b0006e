"""The gateway in front of CPH: authenticates the caller, checks the project and applies rate limits."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from flask import Response, request

from app.devkit.standin import signature
from app.devkit.standin.budgets import RequestBudget
from app.devkit.standin.calls import ApiName
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.faults import FaultKind, MakeAnswer, Refusals, apply_fault
from app.devkit.standin.refusal import CallRefused


def iam_unavailable() -> CallRefused:
    return CallRefused(503, "APIGW.0613", "The IAM service is unavailable.")


def _throttled(limit: RequestBudget) -> CallRefused:
    message = f"The throttling threshold has been reached: policy api over ratelimit,{limit}"
    return CallRefused(429, "APIGW.0308", message)


REFUSALS: Refusals = {
    FaultKind.THROTTLE: lambda: _throttled(RequestBudget(calls=10, per_s=60)),
    FaultKind.ERROR_500: lambda: CallRefused(500, "CPS.0003", "Internal error."),
    FaultKind.UNAUTHORIZED: lambda: signature.incorrect("decrypt token fail"),
    FaultKind.FORBIDDEN: lambda: CallRefused(403, "CPS.0001", "You do not have the permission."),
    FaultKind.IAM_UNAVAILABLE: iam_unavailable,
}


@dataclass(frozen=True, slots=True)
class Gateway:
    cloud: Cloud

    def admit(self, api: ApiName, project_id: str) -> datetime:
        """Returns the time of the call. Raises CallRefused if authentication, project or rate limit fails."""
        now = self.cloud.clock.now()
        if token := request.headers.get("X-Auth-Token"):
            self.cloud.tokens.check(token, now)
        else:
            self._check_signature(now)
        if project_id != self.cloud.account.project_id:
            raise CallRefused(403, "CPS.0001", "You do not have permission for this project.")
        if exhausted := self.cloud.budgets.spend(api, now):
            raise _throttled(exhausted)
        return now

    def answer(self, api: ApiName, now: datetime, good: MakeAnswer, job_ids: Set[str] = frozenset()) -> Response:
        """Returns the good answer, unless a fault matches the call."""
        return apply_fault(self.cloud.faults.take(api, now, job_ids), good, REFUSALS)

    def _check_signature(self, now: datetime) -> None:
        claim = signature.read_claim(request)
        secret_key = self._secret_key(claim, now)
        locks = self.cloud.key_locks
        if locks.is_locked(claim.access_key, now):
            raise signature.incorrect("AK access failed to reach the limit,forbidden.")
        claim.check_time(now)
        if not claim.is_valid(request, secret_key):
            locks.record_failure(claim.access_key, now)
            raise signature.incorrect("verify aksk signature fail")
        locks.record_success(claim.access_key)

    def _secret_key(self, claim: signature.Claim, now: datetime) -> str:
        """Returns the secret of the account's key, or of a temporary key whose security token is sent and signed."""
        account = self.cloud.account
        if claim.access_key == account.access_key:
            return account.secret_key
        key = self.cloud.keys.find(claim.access_key, now)
        if key is None:
            raise signature.incorrect(f"Get secretKey failed,ak:{claim.access_key},err:ak not exist")
        signed = "x-security-token" in claim.signed_headers
        if not signed or request.headers.get("X-Security-Token") != key.security_token:
            raise signature.incorrect("the security token is missing or wrong")
        return key.secret_key
