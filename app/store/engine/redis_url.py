"""Checks BRIDGE_REDIS_URL before anything connects. No message quotes the URL: it may contain a password."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from app.domain.errors import OperatorError

# redis-py takes any argument of its classes from the URL; others break replies or fail at the first connection.
TIMEOUTS = frozenset({"socket_timeout", "socket_connect_timeout", "timeout"})
TLS_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
TLS = TLS_FILES | {"ssl_cert_reqs", "ssl_check_hostname", "ssl_password", "ssl_min_version", "ssl_ciphers"}
LOGIN = frozenset({"db", "username", "password", "client_name", "protocol"})
OPTIONS = LOGIN | TIMEOUTS | TLS | {"socket_keepalive", "health_check_interval", "max_connections"}
POSITIVE = TIMEOUTS | {"max_connections"}
CERT_REQS = ("none", "optional", "required")


def parse(url: str) -> ConnectionPool:
    """Returns redis-py's pool for the URL, not connected. Raises OperatorError without redis-py's message."""
    try:
        pool = Redis.from_url(url).connection_pool
        options = pool.connection_kwargs
        # redis-py uses database 0 if the path is no number. The path of unix:// is a socket.
        database = urlsplit(url).path.strip("/")
        if database and not url.startswith("unix:") and not (database.isascii() and database.isdigit()):
            raise OperatorError("BRIDGE_REDIS_URL: the path must be the number of a database, such as /0")
        _check_options(url, options)
        _check_tls(options)
        pool.make_connection()  # does not connect, but rejects an option that its scheme does not have
    except (TypeError, ValueError, RedisError):
        raise OperatorError("BRIDGE_REDIS_URL: an option or a number in it is invalid") from None
    return pool


def _check_options(url: str, options: Mapping[str, Any]) -> None:
    given = {part.partition("=")[0] for part in urlsplit(url).query.split("&") if part}
    if given - OPTIONS:
        raise OperatorError(
            f"BRIDGE_REDIS_URL: an option in it is unknown; known are {', '.join(sorted(OPTIONS))};"
            " in a password percent-encode / : @ ? # %"
        )
    for name in sorted(POSITIVE & given):
        if not options.get(name, 1) > 0:
            raise OperatorError(f"BRIDGE_REDIS_URL: {name} must be above 0")


def _check_tls(options: Mapping[str, Any]) -> None:
    if options.get("ssl_cert_reqs", "required") not in CERT_REQS:
        raise OperatorError(f"BRIDGE_REDIS_URL: ssl_cert_reqs must be one of {', '.join(CERT_REQS)}")
    for name in sorted(TLS_FILES & options.keys()):
        try:
            Path(options[name]).read_bytes()
        except OSError as error:
            raise OperatorError(f"BRIDGE_REDIS_URL: {name}: cannot read {options[name]}: {error.strerror}") from None
    _check_tls_content(options)


def _check_tls_content(options: Mapping[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority := options.get("ssl_ca_certs"):
            context.load_verify_locations(authority)
    except ssl.SSLError:
        raise OperatorError(f"BRIDGE_REDIS_URL: ssl_ca_certs: {authority} holds no CA certificate in PEM") from None
    try:
        if certificate := options.get("ssl_certfile"):
            # Without a password argument, OpenSSL would prompt at the terminal.
            context.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password") or "")
    except ssl.SSLError:
        reason = "is no certificate in PEM with its private key, or ssl_password is not that of the key"
        raise OperatorError(f"BRIDGE_REDIS_URL: ssl_certfile: {certificate} {reason}") from None
    try:
        if ciphers := options.get("ssl_ciphers"):
            context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise OperatorError("BRIDGE_REDIS_URL: ssl_ciphers: OpenSSL knows none of them") from None
