"""Obtains temporary keys from an ECS host's metadata service or a CCE cluster's pod identity.

Paths, headers and shapes come from huaweicloudsdkcore 3.1.219, auth/internal.py: MetadataAccessor,
PodIdentityAccessor and StsAccessor.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.cph.credentials import FAILED_PAUSE, NoCredentials
from app.cph.errors import read_refusal
from app.cph.parsing import header_value
from app.cph.signing import Key
from app.domain.foreign_json import exact_text, read_object
from app.domain.times import read_expiry
from app.transport.client import Reply, Transport

METADATA_ENDPOINT = "http://169.254.169.254"
NO_TOKEN_STATUSES = (404, 405, 503)  # this metadata service has no tokens and requires none

ACCESS_KEY = ("access", "accessKeyId", "access_key_id")
SECRET_KEY = ("secret", "secretAccessKey", "secret_access_key")
SECURITY_TOKEN = ("securitytoken", "securityToken", "security_token")
EXPIRES_AT = ("expires_at", "expiration")


class HostAgency:
    """The agency of the ECS host that this process runs on. deadline: for both calls together."""

    issuer = "metadata service"

    def __init__(self, *, transport: Transport, deadline: timedelta, endpoint: str = METADATA_ENDPOINT) -> None:
        self._transport = transport
        self._endpoint = endpoint.rstrip("/")
        self._deadline = deadline / 2

    def issue(self) -> tuple[Key, datetime]:
        headers = self._token()
        url = f"{self._endpoint}/openstack/latest/securitykey"
        return _read_key(self._transport.send("GET", url, headers=headers, deadline=self._deadline), headers)

    def _token(self) -> dict[str, str]:
        """Returns the token header, which only some hosts require; empty if this one issues no tokens."""
        headers = {"X-Metadata-Token-Ttl-Seconds": "21600"}
        url = f"{self._endpoint}/meta-data/latest/api/token"
        reply = self._transport.send("PUT", url, headers=headers, body=b"", deadline=self._deadline)
        if reply.status in NO_TOKEN_STATUSES:
            return {}
        token = header_value(reply.body.decode(errors="replace").strip())
        if reply.status != 200 or token is None:
            raise _refused(reply, {})
        return {"X-Metadata-Token": token}


class PodIdentity:
    """The agency of the pod's service account.

    url, token_file: the cluster sets them in the pod as HC_CONTAINER_CREDENTIALS_FULL_URI and
    HC_CONTAINER_AUTHORIZATION_TOKEN_FILE.
    """

    issuer = "pod identity"

    def __init__(self, *, transport: Transport, deadline: timedelta, url: str, token_file: Path) -> None:
        self._transport = transport
        self._deadline = deadline
        self._url = url
        self._token_file = token_file

    def issue(self) -> tuple[Key, datetime]:
        headers = {"Authorization": self._service_account_token(), "Content-Type": "application/json"}
        reply = self._transport.send("POST", self._url, headers=headers, body=b"{}", deadline=self._deadline)
        return _read_key(reply, headers)

    def _service_account_token(self) -> str:
        """Reads the file on every call, as the kubelet renews it."""
        try:
            token = header_value(self._token_file.read_text(errors="replace", encoding="utf-8").strip())
        except OSError as error:
            raise NoCredentials(f"{self._token_file}: {error.strerror}") from error
        if token is None:
            raise NoCredentials(f"{self._token_file} holds no token")
        return token


def _read_key(reply: Reply, sent: Mapping[str, str]) -> tuple[Key, datetime]:
    if reply.status not in (200, 201):
        raise _refused(reply, sent)
    fields = _key_fields(read_object(reply.body))
    access_key = header_value(_first(fields, ACCESS_KEY))
    secret_key = _first(fields, SECRET_KEY)
    security_token = header_value(_first(fields, SECURITY_TOKEN))
    expires_at = next((found for name in EXPIRES_AT if (found := read_expiry(fields.get(name)))), None)
    named = {"access key": access_key, "secret key": secret_key, "security token": security_token, "expiry": expires_at}
    if not (access_key and secret_key and security_token and expires_at):
        raise NoCredentials(f"the answer has no readable {' and no '.join(part for part in named if not named[part])}")
    return Key(access_key, secret_key, security_token), expires_at


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := exact_text(fields.get(name)))), None)


def _key_fields(payload: dict[str, Any]) -> dict[str, Any]:
    inner = payload.get("credential") or payload.get("credentials")
    return inner if isinstance(inner, dict) else payload


def _refused(reply: Reply, sent: Mapping[str, str]) -> NoCredentials:
    refusal = read_refusal(reply, secrets=sent.values())
    return NoCredentials(str(refusal), refusal.pause or FAILED_PAUSE, refused=reply.status in (401, 403))
