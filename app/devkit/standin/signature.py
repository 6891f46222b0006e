"""Checks SDK-HMAC-SHA256 signatures as the gateway does."""

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote

from flask import Request

from app.devkit.standin.refusal import CallRefused

ALGORITHM = "SDK-HMAC-SHA256"
AUTHORIZATION = re.compile(
    ALGORITHM + r" Access=(?P<access>[^,]+), ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
MAX_CLOCK_SKEW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Claim:
    access_key: str
    signed_headers: list[str]
    signed_at: str
    signature: str

    def check_time(self, now: datetime) -> None:
        try:
            signed_at = datetime.strptime(self.signed_at, DATE_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise incorrect("x-sdk-date is missing or wrong") from None
        if abs(now - signed_at) > MAX_CLOCK_SKEW:
            raise CallRefused(401, "APIGW.0303", f"The signature has expired: signed at {self.signed_at}")

    def is_valid(self, request: Request, secret_key: str) -> bool:
        digest = sha256(_canonical_request(request, self.signed_headers).encode()).hexdigest()
        string_to_sign = f"{ALGORITHM}\n{self.signed_at}\n{digest}".encode()
        return hmac.compare_digest(hmac.digest(secret_key.encode(), string_to_sign, "sha256").hex(), self.signature)


def read_claim(request: Request) -> Claim:
    match = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if match is None:
        raise incorrect("ak not exist")
    signed_at = request.headers.get("X-Sdk-Date", "")
    return Claim(match["access"], match["headers"].split(";"), signed_at, match["signature"])


def incorrect(why: str) -> CallRefused:
    return CallRefused(401, "APIGW.0301", f"Incorrect IAM authentication information: {why}")


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
