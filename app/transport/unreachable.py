"""Why a call got no answer, as a kind and a message for logs."""

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
    """No status line with headers was received. The message never contains more of the URL than its host."""

    def __init__(self, kind: UnreachableKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def explain(cause: BaseException, deadline: timedelta) -> Unreachable:
    match cause:
        case TimeoutError():
            kind, message = UnreachableKind.TIMEOUT, f"timed out after {deadline.total_seconds():g} s"
        case socket.gaierror():
            kind, message = UnreachableKind.NAME, "name does not resolve"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError() | ssl.SSLEOFError():
            kind, message = UnreachableKind.CLOSED, "connection closed without an answer"
        case ssl.SSLError():
            kind, message = UnreachableKind.TLS, f"TLS: {_tls_message(cause)}"
        case Overrun():
            kind, message = UnreachableKind.PROTOCOL, "too many bytes before the body of the answer"
        case OSError():
            kind, message = UnreachableKind.CONNECT, os.strerror(cause.errno or 0).lower()
        case _:
            kind, message = UnreachableKind.PROTOCOL, f"not HTTP: {type(cause).__name__}"
    return Unreachable(kind, message)


def root_cause(error: BaseException) -> BaseException:
    """Returns the innermost error: requests and urllib3 wrap it several times and add the URL to the message."""
    while (inner := error.__cause__ or error.__context__ or _wrapped(error)) is not None:
        error = inner
    return error


def _wrapped(error: BaseException) -> BaseException | None:
    """urllib3 puts a TLS error during reading into `args`, such as one for a missing client certificate."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, BaseException) else None


def _tls_message(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    return (error.reason or "handshake failed").replace("_", " ").lower()
