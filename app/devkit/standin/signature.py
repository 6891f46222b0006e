"""SDK-HMAC-SHA256 signatures, checked as the gateway does."""

import hmac
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote

from flask import Request

from app.devkit.standin.account import Account
from app.devkit.standin.refusal import Refusal

ALGORITHM = "SDK-HMAC-SHA256"
AUTHORIZATION = re.compile(
    ALGORITHM + r" Access=(?P<access>[^,]+), ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
MOMENT = "%Y%m%dT%H%M%SZ"
CLOCKS_MAY_DIFFER_BY = timedelta(minutes=15)


def check(request: Request, account: Account, now: datetime) -> None:
    claim = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if claim is None or claim["access"] != account.access_key:
        raise _incorrect("ak not exist")
    signed_at = request.headers.get("X-Sdk-Date", "")
    try:
        moment = datetime.strptime(signed_at, MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise _incorrect("x-sdk-date is missing or wrong") from None
    if abs(now - moment) > CLOCKS_MAY_DIFFER_BY:
        raise Refusal(401, "APIGW.0303", f"The signature has expired: signed at {signed_at}")
    digest = sha256(_canonical_request(request, claim["headers"].split(";")).encode()).hexdigest()
    expected = hmac.digest(account.secret_key.encode(), f"{ALGORITHM}\n{signed_at}\n{digest}".encode(), "sha256")
    if not hmac.compare_digest(expected.hex(), claim["signature"]):
        raise _incorrect("verify aksk signature fail")


def _canonical_request(request: Request, signed_headers: list[str]) -> str:
    query = sorted(request.args.items(multi=True))
    parts = [
        request.method,
        quote(request.path, safe="/~") + "/",
        "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query),
        "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in signed_headers),
        ";".join(signed_headers),
        sha256(request.get_data()).hexdigest(),
    ]
    return "\n".join(parts)


def _incorrect(why: str) -> Refusal:
    return Refusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {why}")
