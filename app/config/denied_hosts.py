"""Hosts that callbacks never reach, whatever is allowed: the bridge's own names, Redis, the Kubernetes API."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from app.config.settings import Settings
from app.domain.address import Endpoint
from app.domain.errors import OperatorError

REDIS_PORT = 6379
# Kubernetes sets both variables in every pod.
KUBERNETES_HOST, KUBERNETES_PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


def denied(settings: Settings, environment: Mapping[str, str]) -> tuple[Endpoint, ...]:
    return tuple(_all(settings, environment))


def _all(settings: Settings, environment: Mapping[str, str]) -> Iterator[Endpoint]:
    for text in settings.deny_hosts:
        yield _endpoint(text, "BRIDGE_DENY_HOSTS")
    redis = urlsplit(settings.redis_url.get_secret_value())
    if redis.hostname and not settings.redis_sentinels:
        yield Endpoint(redis.hostname, redis.port or REDIS_PORT)
    for text in settings.redis_sentinels:
        yield _endpoint(text, "BRIDGE_REDIS_SENTINELS")
    if host := environment.get(KUBERNETES_HOST):
        port = environment.get(KUBERNETES_PORT, "443")
        yield Endpoint(host, int(port) if port.isdecimal() else None)


def _endpoint(text: str, setting: str) -> Endpoint:
    """Parses `host` or `host:port`, an IPv6 address in brackets; raises OperatorError for anything else.

    A name that is not ASCII would match no callback URL.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc != text or parts.username or not host.isascii():
        raise OperatorError(f"{setting}: {text!r} is not host or host:port in ASCII")
    return Endpoint(host.removesuffix("."), port)
