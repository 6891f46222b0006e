"""Signs requests with SDK-HMAC-SHA256 for Huawei Cloud's gateway."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from app.cph.credentials import CphRequest

ALGORITHM = "SDK-HMAC-SHA256"
SECURITY_TOKEN = "X-Security-Token"  # noqa: S105 a header's name


@dataclass(frozen=True, slots=True)
class Key:
    """security_token: only temporary keys have one."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


def sign(request: CphRequest, key: Key, project_id: str, now: datetime) -> dict[str, str]:
    """Returns the request's headers plus those of the signature; all but Authorization are signed."""
    signed_at = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    host = urlsplit(request.url).netloc
    headers = {**request.headers, "Host": host, "X-Sdk-Date": signed_at, "X-Project-Id": project_id}
    if key.security_token:
        headers[SECURITY_TOKEN] = key.security_token
    names = ";".join(sorted(name.lower() for name in headers))
    digest = sha256(_canonical_request(request, headers, names).encode()).hexdigest()
    signature = hmac.digest(key.secret_key.encode(), f"{ALGORITHM}\n{signed_at}\n{digest}".encode(), "sha256").hex()
    authorization = f"{ALGORITHM} Access={key.access_key}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": authorization}


def _canonical_request(request: CphRequest, headers: Mapping[str, str], names: str) -> str:
    """Returns the canonical form: a URL may be escaped in several ways, but only this one is signed."""
    url = urlsplit(request.url)
    path = quote(unquote(url.path), safe="/~")
    query = sorted(parse_qsl(url.query, keep_blank_values=True))
    values = sorted((name.lower(), value.strip()) for name, value in headers.items())
    parts = [
        request.method,
        path if path.endswith("/") else f"{path}/",
        "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query),
        "".join(f"{name}:{value}\n" for name, value in values),
        names,
        sha256(request.body).hexdigest(),
    ]
    return "\n".join(parts)
