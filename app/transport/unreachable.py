"""Why a call brought no answer, in words for a log."""

import http.client
import os
import socket
import ssl
from datetime import timedelta
from enum import StrEnum

from app.domain.errors import BridgeError
from app.transport.sockets import Overrun


class UnreachableKind(StrEnum):
    TIMEOUT = "timeout"
    NAME = "name"
    CONNECT = "connect"
    TLS = "tls"
    CLOSED = "closed"
    PROTOCOL = "protocol"


class Unreachable(BridgeError):
    """No answer came: not even a status line with its headers. The text has at most the host of the URL."""

    def __init__(self, kind: UnreachableKind, words: str) -> None:
        super().__init__(words)
        self.kind = kind


def explain(cause: BaseException, deadline: timedelta) -> Unreachable:
    match cause:
        case TimeoutError():
            kind, words = UnreachableKind.TIMEOUT, f"timed out after {deadline.total_seconds():g} s"
        case socket.gaierror():
            kind, words = UnreachableKind.NAME, "name does not resolve"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            kind, words = UnreachableKind.CLOSED, "connection closed without an answer"
        case ssl.SSLError():
            kind, words = UnreachableKind.TLS, f"TLS: {_tls_words(cause)}"
        case Overrun():
            kind, words = UnreachableKind.PROTOCOL, "too much before the body of the answer"
        case OSError():
            kind, words = UnreachableKind.CONNECT, os.strerror(cause.errno or 0).lower()
        case _:
            kind, words = UnreachableKind.PROTOCOL, f"not HTTP: {type(cause).__name__}"
    return Unreachable(kind, words)


def root_cause(error: BaseException) -> BaseException:
    """requests and urllib3 wrap an error several times over, with the URL in the words."""
    while (inner := error.__cause__ or error.__context__ or _wrapped(error)) is not None:
        error = inner
    return error


def _wrapped(error: BaseException) -> BaseException | None:
    """What urllib3 keeps of an error of TLS that comes with the answer, as that of a certificate not shown does."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, BaseException) else None


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    return (error.reason or "handshake failed").replace("_", " ").lower()
