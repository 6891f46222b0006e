"""TLS contexts: trusted authorities and client certificates, default or from a destination's renewable files."""

import logging
import ssl
from functools import lru_cache
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from app.domain.grant import TlsFiles
from app.transport.sockets import TLSSocket
from app.transport.unreachable import Unreachable, UnreachableKind

log = logging.getLogger("bridge.transport")
CONTEXTS = 64


def context(files: TlsFiles) -> ssl.SSLContext:
    """Returns a context, cached until a file changes. Raises Unreachable if the files cannot be used."""
    try:
        return _context(files, tuple(_version(path) for path in (files.ca, files.certificate, files.key)))
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        log.error("a destination's TLS files cannot be used: %s: %s", files, error)  # noqa: TRY400 - paths and a reason
        raise Unreachable(
            UnreachableKind.TLS, "TLS: the operator's files for this destination cannot be used"
        ) from error


def _version(path: str | None) -> int:
    """Changes with the file, also behind a symbolic link, as in a mounted Secret."""
    return Path(path).stat().st_mtime_ns if path else 0


@lru_cache(maxsize=CONTEXTS)
def _context(files: TlsFiles, versions: tuple[int, ...]) -> ssl.SSLContext:  # noqa: ARG001
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TLSSocket
    context.hostname_checks_common_name = False
    context.load_verify_locations(files.ca or DEFAULT_CA_BUNDLE_PATH)
    if files.certificate:
        # Without a password argument, OpenSSL would prompt at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    return context
